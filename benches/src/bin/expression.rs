//! Filter and projection through DataFusion's physical expressions, batch by batch, as a source's ingest and a
//! projection evaluate them; small batches show what one batch costs.
//!
//! The ceiling is the same arithmetic in one hand-written loop.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use benches::{Numbers, criterion, measure};
use engine::compile::compile;
use engine::operators::build::build;
use engine::operators::ingest::{Ingest, IngestOutput};
use engine::operators::{Operator, Output};
use engine::plan::NodeKind;

const ROWS: usize = 1 << 20;

const JOB: &str = "
CREATE TABLE bid (auction BIGINT, price BIGINT) WITH ('connector' = 'datagen');
SELECT auction, CAST(price AS DOUBLE) * CAST(0.908 AS DOUBLE) AS euro FROM bid WHERE auction % 4 = 0;";

/// What a shard does with rows of the job before its sink.
struct Pipeline {
    ingest: Ingest,
    projection: Box<dyn Operator>,
}

impl Pipeline {
    fn new() -> Pipeline {
        let plan = compile(JOB, &[], Some(1))
            .expect("invariant: the job compiles")
            .plan;
        let (mut ingest, mut projection) = (None, None);
        for node in &plan.nodes {
            match &node.kind {
                NodeKind::Source(source) => ingest = Some(Ingest::new(source, &plan.settings)),
                NodeKind::Map(_) => projection = build(&plan, node.id, 0).expect("invariant: in scope"),
                _ => {}
            }
        }
        Pipeline {
            ingest: ingest.expect("invariant: the job has a source"),
            projection: projection.expect("invariant: the job computes a column"),
        }
    }

    fn run(&mut self, batches: &[RecordBatch]) {
        let (mut ingested, mut out) = (Vec::new(), Output::new());
        for rows in batches {
            self.ingest
                .ingest(0, rows.clone(), 0, 0, 0, &mut ingested)
                .expect("invariant: the expressions hold for all rows");
            for output in ingested.drain(..) {
                if let IngestOutput::Rows(batch) = output {
                    self.projection
                        .process(0, batch, &mut out)
                        .expect("invariant: the expressions hold for all rows");
                }
            }
            black_box(out.take());
        }
    }
}

fn batches(rows: usize) -> Vec<RecordBatch> {
    let field = |name: &str| Field::new(name, DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![field("auction"), field("price")]));
    let mut numbers = Numbers::new(3);
    let mut column = || {
        let values = (0..rows).map(|_| (numbers.draw() >> 40) as i64);
        Arc::new(Int64Array::from_iter_values(values))
    };
    let make = |_| {
        RecordBatch::try_new(schema.clone(), vec![column(), column()])
            .expect("invariant: the columns fit the schema")
    };
    (0..ROWS / rows).map(make).collect()
}

fn ceiling(batches: &[RecordBatch]) {
    let mut kept = Vec::new();
    for batch in batches {
        let auctions = batch.column(0).as_primitive::<Int64Type>().values();
        let prices = batch.column(1).as_primitive::<Int64Type>().values();
        kept.clear();
        for (&auction, &price) in auctions.iter().zip(prices) {
            if auction % 4 == 0 {
                kept.push((auction, price as f64 * 0.908));
            }
        }
        black_box(&kept);
    }
}

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("WHERE and projection");
    for rows in [8_192, 1_024, 128, 16] {
        let batches = batches(rows);
        measure(
            &mut group,
            &format!("ceiling: one loop, batches of {rows}"),
            ROWS,
            || ceiling(&batches),
        );
        let mut pipeline = Pipeline::new();
        measure(&mut group, &format!("batches of {rows}"), ROWS, || {
            pipeline.run(&batches)
        });
    }
    group.finish();
    criterion.final_summary();
}
