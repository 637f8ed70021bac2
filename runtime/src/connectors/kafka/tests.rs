//! Messages become rows, without a broker.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int8Type};
use arrow::util::pretty::pretty_format_batches;
use engine::plan::SourceSpec;

use super::chunk::{Chunk, Taken};
use super::columns::{KeyColumns, value_format};
use super::position::TopicPartition;
use super::records::{Decoded, Records};
use crate::connectors::options::TableOptions;
use crate::connectors::testing::{source_spec, table};

type Pair<'p> = (Option<&'p str>, Option<&'p str>);

/// A source over `columns` with these options; the primary key is the first column.
fn source(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> SourceSpec {
    let mut all = vec![("topic", "t")];
    all.extend(options);
    if !options.iter().any(|(key, _)| *key == "connector") {
        all.push(("connector", "kafka"));
    }
    let mut table = table("t", columns, &all);
    table.primary_key = vec![0];
    let mut spec = source_spec(table);
    spec.has_ops = spec.table.sink_replaces_by_key();
    spec
}

fn records(spec: &SourceSpec) -> Records {
    let options = TableOptions::new(&spec.table).unwrap();
    let format = value_format(&options).unwrap();
    let policy = format.malformed_policy(&options).unwrap();
    let key = KeyColumns::parse(&options, spec.table.sink_replaces_by_key()).unwrap();
    Records::new(spec, &format, key.as_ref(), policy).unwrap()
}

/// Decodes messages with offsets from 10.
fn decode(records: &mut Records, messages: &[Pair<'_>]) -> Decoded {
    let mut chunk = Chunk::default();
    for (number, (key, value)) in messages.iter().enumerate() {
        let taken = Taken {
            offset: 10 + number as i64,
            timestamp: Some(1_000 * number as i64),
            value: value.map(str::as_bytes),
            key: key.map(str::as_bytes),
            headers: Vec::new(),
            keeps_key: true,
            is_counted: true,
            quote: records.quote(),
        };
        chunk.take(taken);
    }
    let partition = TopicPartition {
        topic: "t".into(),
        partition: 3,
    };
    records.decode(chunk, &partition)
}

/// The rows as text, without the frame: one line a row.
fn lines(rows: &RecordBatch) -> Vec<String> {
    let text = pretty_format_batches(std::slice::from_ref(rows))
        .unwrap()
        .to_string();
    let body = text.lines().skip(3).filter(|line| line.starts_with('|'));
    body.map(|line| {
        let cells = line.trim_matches('|').split('|').map(str::trim);
        cells.collect::<Vec<_>>().join(",")
    })
    .collect()
}

fn values(texts: &[&'static str]) -> Vec<Pair<'static>> {
    texts.iter().map(|text| (None, Some(*text))).collect()
}

const V: (&str, DataType) = ("v", DataType::Int64);

#[test]
fn messages_are_rows_and_tombstones_are_none() {
    let spec = source(&[V], &[("format", "json")]);
    let mut messages = values(&["{\"v\":1}", "{\n\"v\":\n2}"]);
    messages.push((Some("k"), None));
    messages.extend(values(&["{\"v\":3}"]));
    let decoded = decode(&mut records(&spec), &messages);
    assert_eq!(lines(&decoded.rows), ["1", "2", "3"]);
    assert_eq!(decoded.next, 14);
    assert!(decoded.failure.is_none());
}

#[test]
fn rows_before_a_poison_message_come_before_its_error() {
    for metadata in [false, true] {
        let mut columns = vec![V];
        columns.extend(metadata.then_some(("o@offset", DataType::Int64)));
        let spec = source(&columns, &[("format", "json")]);
        let messages = values(&["{\"v\":1}", "{\"v\":2}", "", "{\"v\":4}"]);
        let decoded = decode(&mut records(&spec), &messages);
        assert_eq!(decoded.rows.num_rows(), 2);
        assert_eq!(decoded.next, 12, "a job that goes on reads it again");
        let error = decoded.failure.expect("a failure").message;
        assert_eq!(error, "topic 't', partition 3, offset 12: the value is empty");
        let spec = source(
            &columns,
            &[("format", "json"), ("json.ignore-parse-errors", "true")],
        );
        let mut records = records(&spec);
        let decoded = decode(&mut records, &messages);
        assert_eq!((decoded.rows.num_rows(), decoded.next), (3, 14));
        assert_eq!(records.malformed(), 1);
    }
}

#[test]
fn metadata_stays_with_its_row() {
    let columns = [
        V,
        ("o@offset", DataType::Int64),
        ("p@partition", DataType::Int32),
        ("k@key", DataType::Utf8),
    ];
    let spec = source(
        &columns,
        &[("format", "json"), ("json.ignore-parse-errors", "true")],
    );
    let messages = [
        (Some("a"), Some("{\"v\":1}")),
        (Some("b"), Some("poison")),
        (None, None),
        (None, Some("{\"v\":4}")),
    ];
    let decoded = decode(&mut records(&spec), &messages);
    assert_eq!(lines(&decoded.rows), ["1,10,3,a", "4,13,3,"]);
}

#[test]
fn csv_values_are_one_record_each_whatever_stands_in_them() {
    let columns = [V, ("s", DataType::Utf8), ("o@offset", DataType::Int64)];
    let spec = source(
        &columns,
        &[("format", "csv"), ("csv.ignore-parse-errors", "true")],
    );
    let messages = values(&["1,\"a\nb\"", "2,c", "3,\"open", "4,d\n5,e", "6,f"]);
    let mut records = records(&spec);
    let decoded = decode(&mut records, &messages);
    let found: Vec<String> = (0..decoded.rows.num_rows())
        .map(|row| {
            decoded
                .rows
                .column(2)
                .as_primitive::<arrow::datatypes::Int64Type>()
                .value(row)
                .to_string()
        })
        .collect();
    assert_eq!(found, ["10", "11", "14"]);
    assert_eq!(records.malformed(), 2);
}

#[test]
fn keys_that_stand_apart_are_joined_to_their_values() {
    let columns = [("k_id", DataType::Int64), V];
    let options = [
        ("key.format", "json"),
        ("key.fields", "k_id"),
        ("key.fields-prefix", "k_"),
        ("value.format", "json"),
        ("value.fields-include", "EXCEPT_KEY"),
        ("value.json.ignore-parse-errors", "true"),
    ];
    let messages = [
        (Some("{\"id\":1}"), Some("{\"v\":10}")),
        (None, Some("{\"v\":20}")),
        (Some("{id"), Some("{\"v\":30}")),
        (Some("{\"id\":4}"), Some("{\"v\":40}")),
    ];
    let decoded = decode(&mut records(&source(&columns, &options)), &messages);
    assert_eq!(lines(&decoded.rows), ["1,10", ",20", "4,40"]);
}

#[test]
fn an_upsert_table_reads_replacements_and_deletes() {
    let columns = [("id", DataType::Int64), V];
    let options = [
        ("connector", "upsert-kafka"),
        ("key.format", "json"),
        ("value.format", "json"),
    ];
    let messages = [
        (Some("{\"id\":1}"), Some("{\"id\":1,\"v\":10}")),
        (Some("{\"id\":2}"), None),
        (Some("{\"id\":3}"), Some("{\"id\":3,\"v\":30}")),
    ];
    let decoded = decode(&mut records(&source(&columns, &options)), &messages);
    assert_eq!(lines(&decoded.rows), ["1,10,2", "2,,3", "3,30,2"]);
    let ops = decoded.rows.column(2).as_primitive::<Int8Type>();
    assert_eq!(ops.values(), &[2, 3, 2]);
    let decoded = decode(&mut records(&source(&columns, &options)), &[(None, None)]);
    let error = decoded.failure.expect("a failure").message;
    assert!(error.ends_with("offset 10: the record has no key"), "{error}");
}

#[test]
fn a_changelog_value_may_be_two_rows() {
    let mut spec = source(
        &[V, ("o@offset", DataType::Int64)],
        &[("format", "debezium-json"), ("json.ignore-parse-errors", "true")],
    );
    spec.has_ops = true;
    let messages = values(&[
        "{\"after\":{\"v\":1},\"op\":\"c\"}",
        "poison",
        "{\"before\":{\"v\":1},\"after\":{\"v\":2},\"op\":\"u\"}",
        "{\"before\":{\"v\":2},\"op\":\"d\"}",
    ]);
    let decoded = decode(&mut records(&spec), &messages);
    assert_eq!(lines(&decoded.rows), ["1,10,0", "1,12,1", "2,12,2", "2,13,3"]);
}
