//! Snapshots written while work goes on: two equal operators get the same input; one is written whole and at once,
//! the other a quantum at a time between rows, watermarks and flushes, and without what it keeps. Both must write
//! the same and say the same. For tests of operators.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use arrow::util::display::array_value_to_string;
use rand::Rng;
use rand::rngs::SmallRng;

use crate::batch::Batch;
use crate::operators::{Firing, Operator, Output};
use crate::snapshot::{PartNumber, StateWriter};

/// By table, its rows in any order.
type Tables = BTreeMap<String, Vec<Vec<String>>>;

/// What snapshots brought, by the number under which later ones may keep it.
#[derive(Default)]
pub(crate) struct Brought {
    parts: BTreeMap<PartNumber, Tables>,
    /// Parts that the last snapshot kept, and rows that it brought.
    pub kept: usize,
    pub rows: usize,
}

impl Brought {
    /// The tables of a snapshot, with what it keeps.
    fn take(&mut self, writer: StateWriter) -> Tables {
        let snapshot = writer.finish(0, 0);
        let mut tables = Tables::new();
        let mut parts = BTreeMap::<PartNumber, Tables>::new();
        (self.kept, self.rows) = (snapshot.kept.len(), 0);
        for number in snapshot.kept {
            let kept = self
                .parts
                .remove(&number)
                .expect("a kept part was brought before");
            for (table, rows) in &kept {
                tables.entry(table.clone()).or_default().extend(rows.clone());
            }
            parts.insert(number, kept);
        }
        for table in snapshot.tables {
            let all = tables.entry(table.name.clone()).or_default();
            for part in &table.parts {
                let rows = texts(&part.rows);
                all.extend(rows.clone());
                self.rows += rows.len();
                if let Some(number) = part.number {
                    parts.entry(number).or_default().insert(table.name.clone(), rows);
                }
            }
        }
        self.parts = parts;
        tables.values_mut().for_each(|rows| rows.sort());
        tables
    }
}

/// Rows as text; of floats the digits that do not depend on how an accumulator was put together again.
fn texts(rows: &RecordBatch) -> Vec<Vec<String>> {
    let text = |column: &ArrayRef, row: usize| match column.as_primitive_opt::<Float64Type>() {
        _ if column.is_null(row) => "NULL".to_string(),
        Some(floats) => format!("{:.9e}", floats.value(row)),
        None => array_value_to_string(column, row).unwrap(),
    };
    let row = |row: usize| rows.columns().iter().map(|column| text(column, row)).collect();
    (0..rows.num_rows()).map(row).collect()
}

/// Does `work` to both; what they say must be the same.
fn both(operators: &mut [Box<dyn Operator>; 2], mut work: impl FnMut(&mut dyn Operator, &mut Output)) {
    let [said, same] = operators.each_mut().map(|operator| {
        let mut out = Output::new();
        work(operator.as_mut(), &mut out);
        out.take()
            .iter()
            .flat_map(|batch| texts(batch.rows()))
            .collect::<Vec<_>>()
    });
    assert_eq!(said, same);
}

fn advance(operator: &mut dyn Operator, watermark_us: i64, out: &mut Output) {
    let mut firing = operator.advance(watermark_us, out).unwrap();
    while firing == Firing::More {
        firing = operator.resume(out).unwrap();
    }
}

/// What happens to both operators.
pub(crate) enum Event {
    /// A batch of an input that arrives then.
    Rows(usize, Batch, u64),
    /// The watermark rises.
    Watermark(i64),
}

/// Lets `events` happen, and writes snapshots between them; answers in how many quanta most of the second
/// operator's was written, and what its last one brought.
pub(crate) fn check(
    mut operators: [Box<dyn Operator>; 2],
    events: &[Event],
    random: &mut SmallRng,
) -> (usize, Brought) {
    let mut at_once: Option<Tables> = None;
    let mut brought = Brought::default();
    let mut writer = StateWriter::numbering(Some(0));
    let (mut quanta, mut quanta_most) = (0, 0);
    for event in events {
        both(&mut operators, |operator, out| match event {
            Event::Rows(input, batch, arrival_ns) => {
                out.set_arrival(*arrival_ns);
                operator.process(*input, batch.clone(), out).unwrap();
            }
            Event::Watermark(watermark) => advance(operator, *watermark, out),
        });
        if at_once.is_some() && random.random_bool(0.5) {
            quanta += 1;
            if operators[1].record(&mut writer).unwrap() == Firing::Done {
                quanta_most = quanta_most.max(quanta);
                let next = StateWriter::numbering(writer.next());
                let written = brought.take(std::mem::replace(&mut writer, next));
                let expected = at_once.take().expect("a snapshot is under way");
                for (table, rows) in &expected {
                    let found = &written[table];
                    let missing: Vec<_> = rows.iter().filter(|row| !found.contains(row)).collect();
                    let strange: Vec<_> = found.iter().filter(|row| !rows.contains(row)).collect();
                    assert!(
                        rows == found,
                        "table {table} lacks {missing:?}, has {strange:?}; {} rows, not {}",
                        found.len(),
                        rows.len()
                    );
                }
            }
        }
        if at_once.is_none() && random.random_bool(0.3) {
            both(&mut operators, |operator, out| operator.flush(out).unwrap());
            let mut whole = StateWriter::new();
            operators[0].snapshot(&mut whole).unwrap();
            while operators[0].record(&mut whole).unwrap() == Firing::More {}
            at_once = Some(Brought::default().take(whole));
            operators[1].snapshot(&mut writer).unwrap();
            quanta = 0;
        }
        if random.random_bool(0.3) {
            both(&mut operators, |operator, out| operator.flush(out).unwrap());
        }
    }
    (quanta_most, brought)
}
