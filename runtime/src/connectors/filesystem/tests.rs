//! The filesystem source over real files: every record once, for any number of shards, and errors
//! that name file and line.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use engine::compile::compile;
use engine::encoding;
use engine::plan::{NodeKind, SourceSpec, SourceWatermark};
use shards::connector::{ConnectorError, Source, SourcePoll};

use super::*;
use crate::connectors::testing::{TemporaryDirectory, source_spec, table};

const COLUMNS: &[(&str, DataType)] = &[("id", DataType::Int64), ("name", DataType::Utf8)];

/// The sources of all shards over `path` with further options.
pub(super) fn sources(
    path: &Path,
    options: &[(&str, &str)],
    shards: usize,
) -> Result<Vec<Box<dyn Source>>, String> {
    let path = path.to_str().unwrap();
    // Not an option of users: small blocks, so that small files are split.
    let (blocks, options): (Vec<_>, Vec<_>) = options.iter().partition(|(key, _)| *key == "block");
    let block_bytes = blocks
        .first()
        .map_or(FILE_BLOCK_BYTES, |(_, bytes)| bytes.parse().unwrap());
    let mut all = vec![("connector", "filesystem"), ("path", path)];
    all.extend(options);
    sources_of(&source_spec(table("t", COLUMNS, &all)), block_bytes, shards)
}

/// The sources of all shards of `spec`.
fn sources_of(spec: &SourceSpec, block_bytes: u64, shards: usize) -> Result<Vec<Box<dyn Source>>, String> {
    let options = TableOptions::new(&spec.table).map_err(|error| error.to_string())?;
    let prepared = FilesystemTable::prepare_with(&options, &IngestLayout::new(spec), block_bytes);
    let prepared = Arc::new(prepared.map_err(|error| error.to_string())?);
    (0..shards)
        .map(|shard| make_source(spec, &prepared, shard, shards).map_err(|error| error.to_string()))
        .collect()
}

/// Every row that a source gives until it ends or fails.
fn drain(source: &mut dyn Source, rows_max: usize) -> (Vec<(i64, String)>, Option<ConnectorError>) {
    let mut rows = Vec::new();
    loop {
        match source.poll(0, rows_max) {
            Ok(SourcePoll::Rows { rows: batch, .. }) => {
                assert!(batch.num_rows() > 0 && batch.num_rows() <= rows_max);
                append(&batch, &mut rows);
            }
            Ok(SourcePoll::SplitEnd(_) | SourcePoll::Watermark { .. }) => {}
            Ok(SourcePoll::End | SourcePoll::Pending { .. }) => return (rows, None),
            Err(error) => return (rows, Some(error)),
        }
    }
}

pub(super) fn append(batch: &RecordBatch, rows: &mut Vec<(i64, String)>) {
    let ids = batch.column(0).as_primitive::<Int64Type>();
    let names = batch.column(1).as_string::<i32>();
    rows.extend((0..batch.num_rows()).map(|row| (ids.value(row), names.value(row).to_string())));
}

pub(super) fn record(id: i64) -> String {
    format!("{{\"id\":{id},\"name\":\"{}\"}}\n", "n".repeat(id as usize % 17))
}

pub(super) fn expected(count: i64) -> Vec<(i64, String)> {
    (0..count).map(|id| (id, "n".repeat(id as usize % 17))).collect()
}

fn drain_all(sources: &mut [Box<dyn Source>], rows_max: usize) -> Vec<(i64, String)> {
    let mut rows = Vec::new();
    for source in sources {
        let (part, error) = drain(source.as_mut(), rows_max);
        assert_eq!(error, None);
        rows.extend(part);
    }
    rows.sort_unstable();
    rows
}

#[test]
fn a_json_file_is_read_once_for_every_block_size_and_shard_count() {
    let directory = TemporaryDirectory::create();
    let text: String = (0..40).map(record).collect();
    let path = directory.file("events.json", &text);
    for block in [1, 2, 7, 30, 31, 64, 500, 100_000] {
        for shards in 1..=7 {
            let options = [("format", "json"), ("block", &block.to_string())];
            let mut sources = sources(&path, &options, shards).unwrap();
            assert_eq!(
                drain_all(&mut sources, 3),
                expected(40),
                "{block} bytes, {shards} shards"
            );
        }
    }
}

#[test]
fn files_of_a_directory_are_read_whatever_their_compression() {
    let directory = TemporaryDirectory::create();
    let part = |from: i64, to: i64| (from..to).map(record).collect::<String>();
    directory.file("a.json", part(0, 10));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(part(10, 25).as_bytes()).unwrap();
    directory.file("b.json.gz", gzip.finish().unwrap());
    directory.file(
        "c.json.zst",
        zstd::encode_all(part(25, 30).as_bytes(), 0).unwrap(),
    );
    directory.file("d.json", "");
    directory.file("e.json", part(30, 31).trim_end());
    for shards in 1..=7 {
        for block in ["1", "50", "1000000"] {
            let options = [("format", "json"), ("block", block)];
            let mut sources = sources(directory.path(), &options, shards).unwrap();
            assert_eq!(drain_all(&mut sources, 1000), expected(31), "{shards} shards");
        }
    }
}

#[test]
fn rows_before_a_malformed_record_are_delivered_before_the_error_that_names_its_line() {
    let directory = TemporaryDirectory::create();
    let mut text: String = (0..20).map(record).collect();
    text += "{\"id\": what}\n";
    text += &(20..30).map(record).collect::<String>();
    let path = directory.file("bad.json", &text);
    for (block, rows_max) in [("1000000", 7), ("64", 1000)] {
        let options = [("format", "json"), ("block", block)];
        let mut sources = sources(&path, &options, 1).unwrap();
        let (rows, error) = drain(sources[0].as_mut(), rows_max);
        assert_eq!(rows, expected(20));
        let message = error.unwrap().message;
        assert!(message.contains("bad.json, line 21"), "{message}");
    }
    let skipping = [("format", "json"), ("json.ignore-parse-errors", "true")];
    let mut skipping = sources(&path, &skipping, 1).unwrap();
    assert_eq!(drain_all(&mut skipping, 1000), expected(30));
    assert_eq!(skipping[0].statistics().malformed, 1);
}

#[test]
fn malformed_records_go_to_the_dead_letter_file_as_they_came() {
    let directory = TemporaryDirectory::create();
    let path = directory.file("bad.json", format!("{}oops\n{}[1]", record(0), record(1)));
    let letters = directory.path().join("letters");
    let options = [
        ("format", "json"),
        ("json.dead-letter-file", letters.to_str().unwrap()),
    ];
    let mut sources = sources(&path, &options, 1).unwrap();
    assert_eq!(drain_all(&mut sources, 1000), expected(2));
    assert_eq!(sources[0].statistics().malformed, 2);
    assert_eq!(std::fs::read_to_string(&letters).unwrap(), "oops\n[1]\n");
}

#[test]
fn a_truncated_gzip_file_gives_its_rows_and_then_an_error_with_its_path() {
    let directory = TemporaryDirectory::create();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let text: String = (0..5000).map(record).collect();
    gzip.write_all(text.as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    let path = directory.file("cut.json.gz", &bytes[..bytes.len() - 200]);
    let mut sources = sources(&path, &[("format", "json")], 1).unwrap();
    let (rows, error) = drain(sources[0].as_mut(), 1000);
    assert!(!rows.is_empty());
    assert_eq!(rows[..], expected(5000)[..rows.len()]);
    let message = error.unwrap().message;
    assert!(
        message.contains("cut.json.gz") && message.contains("complete"),
        "{message}"
    );
}

#[test]
fn a_missing_file_and_an_empty_directory_are_told_with_their_path() {
    let directory = TemporaryDirectory::create();
    let missing = directory.path().join("missing.json");
    let error = sources(&missing, &[("format", "json")], 1).err().unwrap();
    assert!(
        error.contains("there is no file") && error.contains("missing.json"),
        "{error}"
    );
    let error = sources(directory.path(), &[("format", "json")], 1).err().unwrap();
    assert!(error.contains("no file matches"), "{error}");
}

#[test]
fn an_empty_file_has_no_rows() {
    let directory = TemporaryDirectory::create();
    for (name, format) in [("e.json", "json"), ("e.parquet", "parquet")] {
        let path = directory.file(name, "");
        let mut sources = sources(&path, &[("format", format)], 2).unwrap();
        assert_eq!(drain_all(&mut sources, 10), []);
    }
}

fn parquet_file(path: &Path, rows: i64) {
    let ids = Int64Array::from_iter_values(0..rows);
    let ids = arrow::compute::cast(&ids, &DataType::Int32).unwrap();
    let names = StringArray::from_iter_values(expected(rows).into_iter().map(|(_, name)| name));
    // Another order, another width, a column that nobody wants.
    let batch = RecordBatch::try_from_iter([
        ("name", Arc::new(names) as _),
        ("unwanted", Arc::new(Int64Array::from_iter_values(0..rows)) as _),
        ("id", ids),
    ])
    .unwrap();
    let properties = ::parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(10))
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_row_groups_are_dealt_over_shards_and_columns_cast_to_the_declared_types() {
    let directory = TemporaryDirectory::create();
    let path = directory.path().join("events.parquet");
    parquet_file(&path, 95);
    for shards in 1..=7 {
        let mut sources = sources(&path, &[("format", "parquet")], shards).unwrap();
        assert_eq!(drain_all(&mut sources, 4), expected(95), "{shards} shards");
    }
}

#[test]
fn texts_that_are_only_keys_come_as_codes_from_row_groups_that_keep_codes() {
    let directory = TemporaryDirectory::create();
    let path = directory.path().join("keys.parquet");
    // A row group each: of few texts and NULL, and of as many texts as rows.
    let few = |row: usize| (!row.is_multiple_of(7)).then(|| format!("text number {}", row % 5));
    let names = (0..2_000).map(|row| {
        if row < 1_000 {
            few(row)
        } else {
            Some(format!("the only text {row}"))
        }
    });
    let names: StringArray = names.collect();
    let batch = RecordBatch::try_from_iter([("name", Arc::new(names.clone()) as _)]).unwrap();
    let properties = ::parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(1_000))
        .build();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let file = ParquetFile::load(&path).unwrap();
    let read = |key_texts: &[usize]| {
        let place = parquet::ParquetPlace::default();
        let mut rows = file
            .read(vec![0, 1], place, &batch.schema(), None, key_texts)
            .unwrap();
        let mut groups = Vec::new();
        while let Some(rows) = rows.read().unwrap() {
            groups.push(rows.column(0).clone());
        }
        groups
    };
    for (key_texts, encoded) in [(&[0][..], [true, false]), (&[], [false, false])] {
        let groups = read(key_texts);
        assert_eq!(
            groups.iter().map(encoding::is_encoded).collect::<Vec<_>>(),
            encoded
        );
        for (number, group) in groups.iter().enumerate() {
            let plain = encoding::plain(group).unwrap();
            assert_eq!(plain.as_string::<i32>(), &names.slice(number * 1_000, 1_000));
        }
    }
}

#[test]
fn a_filter_in_the_parquet_decoder_leaves_rows_out_and_counts_them() {
    let directory = TemporaryDirectory::create();
    let path = directory.path().join("events.parquet");
    parquet_file(&path, 95);
    let sql = format!(
        "CREATE TABLE t (id BIGINT, name STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'parquet'); \
         SELECT id, name FROM t WHERE id % 3 = 0;",
        path.display()
    );
    let job = compile(&sql, &[], None).unwrap();
    let NodeKind::Source(mut spec) = job.plan.nodes[0].kind.clone() else {
        panic!("the first node is the source");
    };
    let kept: Vec<_> = expected(95).into_iter().filter(|(id, _)| id % 3 == 0).collect();
    for shards in 1..=4 {
        let mut sources = sources_of(&spec, FILE_BLOCK_BYTES, shards).unwrap();
        assert_eq!(drain_all(&mut sources, 4), kept, "{shards} shards");
        let filtered: u64 = sources.iter().map(|source| source.statistics().filtered).sum();
        assert_eq!(filtered as usize, 95 - kept.len());
    }
    // Where rows move time forward, none is left out early.
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("id", 0));
    spec.watermark = Some(SourceWatermark {
        event_time: Arc::clone(&column),
        watermark: column,
    });
    let mut sources = sources_of(&spec, FILE_BLOCK_BYTES, 2).unwrap();
    assert_eq!(drain_all(&mut sources, 4), expected(95));
}

#[test]
fn a_truncated_parquet_file_and_a_missing_column_are_told_before_anything_runs() {
    let directory = TemporaryDirectory::create();
    let whole = directory.path().join("whole.parquet");
    parquet_file(&whole, 95);
    let bytes = std::fs::read(&whole).unwrap();
    let cut = directory.file("cut.parquet", &bytes[..bytes.len() / 2]);
    let error = sources(&cut, &[("format", "parquet")], 1).err().unwrap();
    assert!(
        error.contains("cut.parquet is not a complete Parquet file"),
        "{error}"
    );

    let columns = [("idd", DataType::Int64)];
    let path = whole.to_str().unwrap();
    let options = [("connector", "filesystem"), ("path", path), ("format", "parquet")];
    let spec = source_spec(table("t", &columns, &options));
    let prepared = FilesystemTable::prepare(
        &TableOptions::new(&spec.table).unwrap(),
        &IngestLayout::new(&spec),
    );
    let error = prepared.unwrap_err().to_string();
    assert!(error.contains("no column 'idd'; did you mean `id`?"), "{error}");

    let spec = source_spec(table("t", &[("name", DataType::Int64)], &options));
    let prepared = FilesystemTable::prepare(
        &TableOptions::new(&spec.table).unwrap(),
        &IngestLayout::new(&spec),
    );
    let error = prepared.unwrap_err().to_string();
    assert!(
        error.contains("column 'name'") && error.contains("Utf8") && error.contains("Int64"),
        "{error}"
    );
}

#[test]
fn files_are_read_by_event_time_and_not_by_their_order() {
    use datafusion_physical_expr::expressions::Column;
    use engine::plan::SourceWatermark;

    let directory = TemporaryDirectory::create();
    let records = |from: i64, to: i64| (from..to).map(record).collect::<String>();
    // `a` and `b` cover the same time, `c` comes before both; more files than may be open.
    directory.file("a.json", records(1000, 1300));
    directory.file("b.json", records(1000, 1300));
    directory.file("c.json", records(0, 900));
    for number in 0..20 {
        directory.file(&format!("d{number}.json"), records(1000, 1300));
    }
    let path = directory.path().to_str().unwrap();
    let options = [("connector", "filesystem"), ("path", path), ("format", "json")];
    let mut spec = source_spec(table("t", COLUMNS, &options));
    spec.watermark = Some(SourceWatermark {
        event_time: Arc::new(Column::new("id", 0)),
        watermark: Arc::new(Column::new("id", 0)),
    });
    let prepared = FilesystemTable::prepare(
        &TableOptions::new(&spec.table).unwrap(),
        &IngestLayout::new(&spec),
    );
    let mut source = make_source(&spec, &Arc::new(prepared.unwrap()), 0, 1).unwrap();
    // The watermark as the shard derives it: the minimum over live splits of their latest time.
    let mut times: std::collections::BTreeMap<u32, i64> = source
        .splits()
        .into_iter()
        .map(|split| (split, i64::MIN))
        .collect();
    let (mut late, mut total, mut watermark) = (0, 0, i64::MIN);
    let mut open = 0;
    loop {
        open = open.max(files_open_in(directory.path()));
        match source.poll(0, 8192).unwrap() {
            SourcePoll::Rows { split, rows, .. } => {
                let ids = rows.column(0).as_primitive::<Int64Type>();
                total += ids.len();
                late += ids.values().iter().filter(|id| **id < watermark).count();
                let latest = ids.values().iter().max().unwrap();
                times.entry(split).and_modify(|time| *time = (*time).max(*latest));
            }
            SourcePoll::SplitEnd(split) => {
                times.remove(&split);
            }
            SourcePoll::Pending { .. } | SourcePoll::Watermark { .. } => panic!("files are there"),
            SourcePoll::End => break,
        }
        watermark = watermark.max(times.values().copied().min().unwrap_or(watermark));
    }
    assert_eq!((total, late), (900 + 22 * 300, 0));
    assert_eq!(open, crate::limits::OPEN_FILES_MAX);
}

/// Files below `directory` that this process has open.
fn files_open_in(directory: &Path) -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
    targets.filter(|target| target.starts_with(directory)).count()
}

#[test]
fn a_file_is_dealt_over_the_shards_in_blocks() {
    let directory = TemporaryDirectory::create();
    let record = format!("{{\"id\":1,\"name\":\"{}\"}}\n", "n".repeat(1_000));
    let rows = 5 * FILE_BLOCK_BYTES as usize / record.len();
    let path = directory.file("a.json", record.repeat(rows));
    let mut sources = sources(&path, &[("format", "json")], 2).unwrap();
    let counts: Vec<usize> = sources
        .iter_mut()
        .map(|source| drain(source.as_mut(), 8192).0.len())
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), rows);
    // Blocks 0, 2 and 4 against 1 and 3.
    let blocks = counts[0] as f64 / counts[1] as f64;
    assert!((1.49..1.51).contains(&blocks), "{counts:?}");
}

#[test]
fn csv_columns_are_found_by_each_files_own_header() {
    let directory = TemporaryDirectory::create();
    directory.file("a.csv", "id,name\n0,\n1,\"n\"\n");
    directory.file("b.csv", "other,name,id\r\n\"a\nb\",nn,2\r\n,\"nnn\",3");
    directory.file("c.csv", "id,name\n");
    directory.file("d.csv", "");
    for shards in 1..=3 {
        let mut sources = sources(directory.path(), &[("format", "csv")], shards).unwrap();
        let mut rows = drain_all(&mut sources, 1);
        // An empty value is NULL, which reads as an empty string here.
        rows.sort_unstable();
        assert_eq!(rows, expected(4), "{shards} shards");
    }
    let path = directory.file("e.txt", "0;\n1;n\n");
    let options = [
        ("format", "csv"),
        ("csv.header", "false"),
        ("csv.field-delimiter", ";"),
    ];
    assert_eq!(
        drain_all(&mut sources(&path, &options, 2).unwrap(), 10),
        expected(2)
    );
}

#[test]
fn a_csv_value_of_the_wrong_type_and_a_header_without_a_column_are_told_with_their_place() {
    let directory = TemporaryDirectory::create();
    let path = directory.file("bad.csv", "id,name\n0,\n\"1\",n\nx,nn\n3,nnn\n");
    let mut bad = sources(&path, &[("format", "csv")], 1).unwrap();
    let (rows, error) = drain(bad[0].as_mut(), 100);
    assert_eq!(rows, expected(2));
    let message = error.unwrap().message;
    assert!(
        message.contains("bad.csv, line 4") && message.contains("value is x"),
        "{message}"
    );

    let path = directory.file("other.csv", "idd,name\n0,x\n");
    let mut other = sources(&path, &[("format", "csv")], 1).unwrap();
    let message = drain(other[0].as_mut(), 100).1.unwrap().message;
    assert!(
        message.contains("other.csv") && message.contains("no column 'id'"),
        "{message}"
    );
}

#[test]
fn a_json_value_of_the_wrong_type_and_bytes_that_are_not_utf8_are_told() {
    let directory = TemporaryDirectory::create();
    for (bad, reason) in [
        ("{\"id\": \"x\"}".as_bytes(), "id"),
        (b"{\"name\": \"\xff\"}", "UTF-8"),
    ] {
        let path = directory.file("bad.json", [record(0).as_bytes(), bad, b"\n"].concat());
        let mut bad = sources(&path, &[("format", "json")], 1).unwrap();
        let (rows, error) = drain(bad[0].as_mut(), 100);
        assert_eq!(rows, expected(1));
        let message = error.unwrap().message;
        assert!(
            message.contains("bad.json, line 2") && message.contains(reason),
            "{message}"
        );
    }
}

#[test]
fn rows_are_counted_where_no_column_is_wanted() {
    let directory = TemporaryDirectory::create();
    directory.file("a.json", (0..25).map(record).collect::<String>());
    let path = directory.path().join("a.json");
    let csv = directory.file("a.csv", "id,name\n1,x\n2,y\n");
    let parquet = directory.path().join("a.parquet");
    parquet_file(&parquet, 95);
    for (path, format, expected) in [(&path, "json", 25), (&csv, "csv", 2), (&parquet, "parquet", 95)] {
        let path = path.to_str().unwrap();
        let options = [("connector", "filesystem"), ("path", path), ("format", format)];
        let mut spec = source_spec(table("t", COLUMNS, &options));
        spec.ingest = Vec::new();
        let prepared = FilesystemTable::prepare(
            &TableOptions::new(&spec.table).unwrap(),
            &IngestLayout::new(&spec),
        );
        let mut source = make_source(&spec, &Arc::new(prepared.unwrap()), 0, 1).unwrap();
        let mut rows = 0;
        loop {
            match source.poll(0, 10).unwrap() {
                SourcePoll::Rows { rows: batch, .. } => rows += batch.num_rows(),
                SourcePoll::End => break,
                _ => {}
            }
        }
        assert_eq!(rows, expected, "{format}");
    }
}

#[test]
fn metadata_columns_say_where_a_row_came_from() {
    let directory = TemporaryDirectory::create();
    directory.file("a.json", "{\"id\":1}\n");
    let path = directory.path().to_str().unwrap();
    let options = [("connector", "filesystem"), ("path", path), ("format", "json")];
    let columns = [("file@file.name", DataType::Utf8), ("id", DataType::Int64)];
    let spec = source_spec(table("t", &columns, &options));
    let prepared = FilesystemTable::prepare(
        &TableOptions::new(&spec.table).unwrap(),
        &IngestLayout::new(&spec),
    );
    let mut source = make_source(&spec, &Arc::new(prepared.unwrap()), 0, 1).unwrap();
    let SourcePoll::Rows { rows, .. } = source.poll(0, 10).unwrap() else {
        panic!("there is a row");
    };
    assert_eq!(rows.column(0).as_string::<i32>().value(0), "a.json");
    assert_eq!(rows.column(1).as_primitive::<Int64Type>().value(0), 1);
}
