//! The operator against an oracle: every way of taking the rows of a partition, tried by recursion over the pattern
//! itself, in the order of preference.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion_expr::Operator as BinaryOperator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, IsNullExpr, Literal};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::MatchRecognize;
use crate::batch::Batch;
use crate::operators::{Firing, Operator, Output};
use crate::plan::match_spec::{MatchCondition, MatchSkip, MatchSpec, MatchValue, RowEnd, RowReference};
use crate::plan::row_pattern::RowPattern;
use crate::plan::{AggregateCall, AggregateFunction};
use crate::snapshot::{Placement, StateReader, StateWriter};
use crate::time::{WATERMARK_END, WATERMARK_NONE};

const TIME: usize = 1;
const VALUE: usize = 2;

/// (key, time, value).
type Row = (i64, i64, i64);

/// What a variable is defined as; the engine's conditions and the oracle's are made of it independently.
#[derive(Clone, Copy, Debug)]
enum Definition {
    Anything,
    /// value < limit
    Below(i64),
    /// value > PREV(value), or there is none before
    Rises,
    /// value > the last value of that variable, or it has none
    Above(usize),
    /// the sum of the values of this variable so far < limit
    SumBelow(i64),
    /// value > the first value of the match
    AboveFirst,
}

struct Case {
    pattern: RowPattern,
    definitions: Vec<Definition>,
    within: Option<i64>,
    skip: MatchSkip,
}

fn reference(column: usize, variable: Option<usize>, from: RowEnd, back: usize) -> MatchValue {
    MatchValue::Row(RowReference {
        column,
        variable,
        from,
        offset: 0,
        back,
    })
}

fn column(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new("value", index))
}

fn binary(
    left: Arc<dyn PhysicalExpr>,
    op: BinaryOperator,
    right: Arc<dyn PhysicalExpr>,
) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, op, right))
}

fn below(limit: i64) -> Arc<dyn PhysicalExpr> {
    let limit = Arc::new(Literal::new(datafusion_common::ScalarValue::Int64(Some(limit))));
    binary(column(0), BinaryOperator::Lt, limit)
}

/// value 0 > value 1, or value 1 is NULL.
fn above_or_none() -> Arc<dyn PhysicalExpr> {
    let is_none = Arc::new(IsNullExpr::new(column(1)));
    binary(
        is_none,
        BinaryOperator::Or,
        binary(column(0), BinaryOperator::Gt, column(1)),
    )
}

fn sum() -> AggregateCall {
    AggregateCall {
        function: AggregateFunction::Sum,
        arguments: vec![VALUE],
        distinct: false,
        filter: None,
        output: Arc::new(Field::new("sum", DataType::Int64, true)),
    }
}

fn condition(variable: usize, definition: Definition) -> Option<MatchCondition> {
    let own = reference(VALUE, Some(variable), RowEnd::Last, 0);
    let (values, predicate) = match definition {
        Definition::Anything => return None,
        Definition::Below(limit) => (vec![own], below(limit)),
        Definition::Rises => (
            vec![own, reference(VALUE, None, RowEnd::Last, 1)],
            above_or_none(),
        ),
        Definition::Above(other) => (
            vec![own, reference(VALUE, Some(other), RowEnd::Last, 0)],
            above_or_none(),
        ),
        Definition::SumBelow(limit) => {
            let call = sum();
            let variable = Some(variable);
            (vec![MatchValue::Aggregate { variable, call }], below(limit))
        }
        Definition::AboveFirst => {
            let first = reference(VALUE, None, RowEnd::First, 0);
            (vec![own, first], binary(column(0), BinaryOperator::Gt, column(1)))
        }
    };
    Some(MatchCondition {
        variable,
        values,
        predicate,
    })
}

fn input() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("ts", time, true),
        Field::new("value", DataType::Int64, true),
    ]))
}

/// The operator of a case: it tells the key, the time of the first row, by variable the sum of its values, and the
/// time of the last row.
fn operator(case: &Case) -> MatchRecognize {
    let variables = case.definitions.len();
    let mut outputs = vec![reference(TIME, None, RowEnd::First, 0)];
    outputs.extend((0..variables).map(|variable| MatchValue::Aggregate {
        variable: Some(variable),
        call: sum(),
    }));
    let conditions = case.definitions.iter().enumerate();
    let spec = MatchSpec {
        partition: vec![0],
        time_column: TIME,
        order: Vec::new(),
        variables: (0..variables).map(|variable| format!("V{variable}")).collect(),
        pattern: case.pattern.clone(),
        conditions: conditions
            .filter_map(|(variable, &definition)| condition(variable, definition))
            .collect(),
        within_us: case.within,
        skip: case.skip,
        outputs,
    };
    let time = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let mut fields = vec![
        Field::new("key", DataType::Int64, true),
        Field::new("first", time(), true),
    ];
    fields
        .extend((0..variables).map(|variable| Field::new(format!("sum {variable}"), DataType::Int64, true)));
    fields.push(Field::new("last", time(), true));
    MatchRecognize::new(&spec, input(), Arc::new(Schema::new(fields))).unwrap()
}

fn batch(rows: &[Row]) -> Batch {
    let numbers = |of: fn(&Row) -> i64| Arc::new(rows.iter().map(of).map(Some).collect::<Int64Array>());
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.1)).collect();
    let columns: Vec<ArrayRef> = vec![numbers(|row| row.0), Arc::new(times), numbers(|row| row.2)];
    Batch::append(RecordBatch::try_new(input(), columns).unwrap(), 0)
}

/// A match as text: key, time of the first row, sums by variable, time of the last row.
fn told(key: i64, first: i64, sums: &[Option<i64>], last: i64) -> String {
    format!("{key} {first} {sums:?} {last}")
}

fn take(out: &mut Output, into: &mut Vec<String>) {
    for batch in out.take() {
        let width = batch.rows().num_columns();
        let numbers = |column: usize| arrow::compute::cast(batch.column(column), &DataType::Int64).unwrap();
        let columns: Vec<ArrayRef> = (0..width).map(numbers).collect();
        let number = |column: usize, row: usize| {
            let values = columns[column].as_primitive::<Int64Type>();
            values.iter().nth(row).unwrap()
        };
        for row in 0..batch.len() {
            let sums: Vec<Option<i64>> = (2..width - 1).map(|column| number(column, row)).collect();
            into.push(told(
                number(0, row).unwrap(),
                number(1, row).unwrap(),
                &sums,
                number(width - 1, row).unwrap(),
            ));
        }
    }
}

/// Rows taken, by variable.
type Path = Vec<usize>;

/// All ways of taking rows behind `path`, the preferred first; `then` answers whether it is content with one.
fn ways(
    pattern: &RowPattern,
    path: Path,
    accepts: &dyn Fn(&Path, usize) -> bool,
    then: &mut dyn FnMut(Path) -> bool,
) -> bool {
    match pattern {
        RowPattern::Row(variable) => {
            if !accepts(&path, *variable) {
                return false;
            }
            let mut longer = path;
            longer.push(*variable);
            then(longer)
        }
        RowPattern::Concatenation(parts) => match parts.split_first() {
            None => then(path),
            Some((first, rest)) => {
                let rest = RowPattern::Concatenation(rest.to_vec());
                ways(first, path, accepts, &mut |path| ways(&rest, path, accepts, then))
            }
        },
        RowPattern::Alternation(parts) => parts.iter().any(|part| ways(part, path.clone(), accepts, then)),
        RowPattern::Repetition {
            inner,
            least,
            most,
            greedy,
        } => {
            if *most == Some(0) {
                return then(path);
            }
            let rest = RowPattern::Repetition {
                inner: inner.clone(),
                least: least.saturating_sub(1),
                most: most.map(|most| most - 1),
                greedy: *greedy,
            };
            let stops_first = *least == 0 && !greedy;
            if stops_first && then(path.clone()) {
                return true;
            }
            if ways(inner, path.clone(), accepts, &mut |path| {
                ways(&rest, path, accepts, then)
            }) {
                return true;
            }
            *least == 0 && *greedy && then(path)
        }
    }
}

/// The matches of one partition, whose rows are in order.
fn oracle(case: &Case, rows: &[Row], into: &mut Vec<String>) -> Result<(), ()> {
    let mut start = 0;
    while start < rows.len() {
        let values = |path: &Path, variable: usize| -> Vec<i64> {
            let taken = path.iter().enumerate().filter(|&(_, &taken)| taken == variable);
            taken.map(|(place, _)| rows[start + place].2).collect()
        };
        let accepts = |path: &Path, variable: usize| {
            let at = start + path.len();
            let Some(&(_, time, value)) = rows.get(at) else {
                return false;
            };
            let in_time = case.within.is_none_or(|within| time - rows[start].1 < within);
            in_time
                && match case.definitions[variable] {
                    Definition::Anything => true,
                    Definition::Below(limit) => value < limit,
                    Definition::Rises => at == 0 || value > rows[at - 1].2,
                    Definition::Above(other) if other == variable => true,
                    Definition::Above(other) => values(path, other).last().is_none_or(|&last| value > last),
                    Definition::SumBelow(limit) => values(path, variable).iter().sum::<i64>() + value < limit,
                    Definition::AboveFirst => !path.is_empty() && value > rows[start].2,
                }
        };
        let mut found = None;
        ways(&case.pattern, Vec::new(), &accepts, &mut |path| {
            found = Some(path);
            true
        });
        let Some(path) = found else {
            start += 1;
            continue;
        };
        let sums: Vec<Option<i64>> = (0..case.definitions.len())
            .map(|variable| {
                let values = values(&path, variable);
                (!values.is_empty()).then(|| values.iter().sum())
            })
            .collect();
        let last = rows[start + path.len() - 1].1;
        into.push(told(rows[start].0, rows[start].1, &sums, last));
        let place = |found: Option<usize>| found.filter(|&place| place > 0).ok_or(());
        start += match case.skip {
            MatchSkip::PastLastRow => path.len(),
            MatchSkip::ToNextRow => 1,
            MatchSkip::ToFirst(variable) => place(path.iter().position(|&taken| taken == variable))?,
            MatchSkip::ToLast(variable) => place(path.iter().rposition(|&taken| taken == variable))?,
        };
    }
    Ok(())
}

fn random_pattern(random: &mut SmallRng, variables: usize, depth: usize) -> RowPattern {
    let part = |random: &mut SmallRng| random_pattern(random, variables, depth - 1);
    match random.random_range(0..if depth == 0 { 1 } else { 6 }) {
        0 => RowPattern::Row(random.random_range(0..variables)),
        1 => RowPattern::Alternation((0..random.random_range(2..4)).map(|_| part(random)).collect()),
        2 | 3 => RowPattern::Concatenation((0..random.random_range(2..4)).map(|_| part(random)).collect()),
        _ => {
            let inner = part(random);
            let least = random.random_range(0..3);
            let most = match inner.rows_min() {
                0 => Some(least + 1),
                _ => random.random_bool(0.5).then(|| least + random.random_range(0..3)),
            };
            RowPattern::Repetition {
                inner: Box::new(inner),
                least,
                most: most.map(|most| most.max(1)),
                greedy: random.random_bool(0.5),
            }
        }
    }
}

fn random_case(random: &mut SmallRng) -> Case {
    let variables = random.random_range(1..4);
    let pattern = loop {
        let pattern = random_pattern(random, variables, 3);
        if pattern.rows_min() > 0 && pattern.endless().is_none() && pattern.steps() < 60 {
            break pattern;
        }
    };
    let definition = |random: &mut SmallRng| match random.random_range(0..7) {
        0 | 1 => Definition::Below(random.random_range(2..9)),
        2 => Definition::Rises,
        3 => Definition::Above(random.random_range(0..variables)),
        4 => Definition::SumBelow(random.random_range(5..20)),
        5 => Definition::AboveFirst,
        _ => Definition::Anything,
    };
    let definitions: Vec<Definition> = (0..variables).map(|_| definition(random)).collect();
    // A variable is never above its own last value here: the row that is looked at is that one.
    let definitions = definitions
        .into_iter()
        .enumerate()
        .map(|(variable, definition)| match definition {
            Definition::Above(other) if other == variable => Definition::Anything,
            definition => definition,
        });
    Case {
        pattern,
        definitions: definitions.collect(),
        within: random.random_bool(0.4).then(|| random.random_range(1..12)),
        skip: match random.random_range(0..4) {
            0 => MatchSkip::PastLastRow,
            1 => MatchSkip::ToLast(random.random_range(0..variables)),
            2 => MatchSkip::ToFirst(random.random_range(0..variables)),
            _ => MatchSkip::ToNextRow,
        },
    }
}

fn random_rows(random: &mut SmallRng) -> Vec<Row> {
    let keys = random.random_range(1..4);
    let mut time = 0;
    let count = random.random_range(1..25);
    let row = |_| {
        time += random.random_range(1..4);
        (random.random_range(0..keys), time, random.random_range(0..10))
    };
    (0..count).map(row).collect()
}

/// Runs the rows through the operator: random cuts, random watermarks, a snapshot now and then.
fn run(case: &Case, rows: &[Row], random: &mut SmallRng) -> Result<Vec<String>, ()> {
    let mut running = operator(case);
    let mut out = Output::new();
    let mut matches = Vec::new();
    let mut promised = WATERMARK_NONE;
    let mut next = 0;
    while next <= rows.len() {
        let end = (next + random.random_range(1..6)).min(rows.len());
        let mut part = rows[next..end].to_vec();
        let newest = part.last().map_or(0, |row| row.1);
        part.reverse();
        running.process(0, batch(&part), &mut out).unwrap();
        let is_end = end == rows.len();
        let watermark = if is_end { WATERMARK_END } else { newest };
        if random.random_bool(0.7) || is_end {
            let mut firing = running.advance(watermark, &mut out).map_err(|_| ())?;
            while firing == Firing::More {
                firing = running.resume(&mut out).map_err(|_| ())?;
            }
            let before = matches.len();
            take(&mut out, &mut matches);
            for found in &matches[before..] {
                let last: i64 = found.rsplit(' ').next().unwrap().parse().unwrap();
                assert!(last > promised, "{found} comes behind the watermark {promised}");
            }
            let promise = running.output_watermark(watermark);
            assert!(
                promise >= promised,
                "the watermark fell from {promised} to {promise}"
            );
            promised = promise;
            if random.random_bool(0.3) && !is_end {
                let mut writer = StateWriter::new();
                running.snapshot(&mut writer).unwrap();
                let written = writer.finish(watermark, 0).unwrap();
                running = operator(case);
                running
                    .restore(&StateReader::new(vec![&written], vec![Placement::Any], 0, 1))
                    .unwrap();
            }
        }
        next = if is_end { rows.len() + 1 } else { end };
    }
    let kept = running
        .partitions
        .iter()
        .filter(|partition| partition.rows.len() > 0)
        .count();
    assert_eq!(kept, 0, "at the end no match is open");
    let heap: usize = running.partitions.iter().map(super::Partition::bytes).sum();
    assert_eq!(running.heap_bytes, heap, "bytes are counted as they come and go");
    assert_eq!(running.late_rows, 0);
    Ok(matches)
}

#[test]
fn random_patterns_over_random_rows_match_as_every_way_tried_by_recursion() {
    let mut found = 0;
    for seed in 0..1_500 {
        let mut random = SmallRng::seed_from_u64(seed);
        let case = random_case(&mut random);
        let rows = random_rows(&mut random);
        let mut expected = Vec::new();
        let mut failed = Ok(());
        for key in 0..4 {
            let partition: Vec<Row> = rows.iter().filter(|row| row.0 == key).copied().collect();
            failed = failed.and(oracle(&case, &partition, &mut expected));
        }
        let answer = run(&case, &rows, &mut random);
        let names: Vec<String> = (0..3).map(|variable| format!("V{variable}")).collect();
        let text = format!(
            "seed {seed}: {} {:?} within {:?} {:?} over {rows:?}",
            case.pattern.display(&names),
            case.definitions,
            case.within,
            case.skip
        );
        match answer {
            Err(()) => assert!(failed.is_err(), "{text}"),
            Ok(mut answer) => {
                assert!(failed.is_ok(), "{text}");
                answer.sort();
                expected.sort();
                assert_eq!(answer, expected, "{text}");
                found += answer.len();
            }
        }
    }
    assert!(
        found > 1_000,
        "{found} matches: the patterns are too narrow to tell anything"
    );
}
