//! The writer thread: order, bounds, and a reader that goes away.

use std::sync::Condvar;
use std::sync::mpsc::channel;

use arrow::array::{Int64Array, RecordBatch, StringArray};

use super::sink::{LinesSink, TableSink};
use super::*;
use engine::formats::encode_changelog_text::ChangelogTextEncoder;
use shards::connector::Sink;

/// Lets a test wait until the writer says that something changed.
#[derive(Default)]
struct Bell(Mutex<u64>, Condvar);

impl Wake for Bell {
    fn wake(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }
}

impl Bell {
    /// Waits for the next ring after `seen` of them, and gives how many there were.
    fn wait(&self, seen: u64) -> u64 {
        let rung = self
            .1
            .wait_while(self.0.lock().unwrap(), |rung| *rung <= seen)
            .unwrap();
        *rung
    }
}

/// What was written, or an error once `capacity` bytes were.
#[derive(Clone)]
struct Paper {
    text: Arc<Mutex<Vec<u8>>>,
    capacity: usize,
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut text = self.text.lock().unwrap();
        if text.len() + bytes.len() > self.capacity {
            return Err(ErrorKind::BrokenPipe.into());
        }
        text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn batch(from: i64, names: &[&str]) -> Batch {
    let ids = Int64Array::from_iter_values(from..from + names.len() as i64);
    let rows = RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as _),
        ("name", Arc::new(StringArray::from(names.to_vec())) as _),
    ]);
    Batch::append(rows.unwrap(), 0)
}

fn paper(capacity: usize) -> Paper {
    Paper {
        text: Arc::default(),
        capacity,
    }
}

fn close(sink: &mut dyn Sink, bell: &Bell) -> Result<(), ConnectorError> {
    let mut seen = 0;
    while !sink.close()? {
        seen = bell.wait(seen);
    }
    Ok(())
}

#[test]
fn every_line_of_every_shard_is_written_before_a_sink_is_closed() {
    let (output, bell, paper) = (
        Arc::new(StandardOutput::new(2)),
        Arc::new(Bell::default()),
        paper(usize::MAX),
    );
    let mut sinks: Vec<LinesSink> = (0..2)
        .map(|shard| {
            LinesSink::new(
                Arc::clone(&output),
                shard,
                0,
                Box::new(ChangelogTextEncoder::new(None)),
            )
        })
        .collect();
    // Nothing is written yet: the queue fills up and says so.
    let mut written = 0;
    while sinks[0].ready() {
        sinks[0].write(&batch(written, &["x"])).unwrap();
        sinks[0].flush().unwrap();
        written += 1;
        assert!(written < 1000, "the queue is bounded");
    }
    assert_eq!(
        written as usize,
        STDOUT_BLOCKS_MAX + 1,
        "those that wait and one that was refused"
    );
    output.start(paper.clone(), vec![bell.clone(), bell.clone()]);
    close(&mut sinks[0], &bell).unwrap();
    sinks[1].write(&batch(0, &["y"])).unwrap();
    close(&mut sinks[1], &bell).unwrap();
    let text = String::from_utf8(paper.text.lock().unwrap().clone()).unwrap();
    let mut expected: String = (0..written).map(|id| format!("+I[{id}, x]\n")).collect();
    expected += "+I[0, y]\n";
    assert_eq!(text, expected);
}

#[test]
fn a_reader_that_goes_away_is_told_apart_from_a_failure() {
    let (output, bell) = (Arc::new(StandardOutput::new(1)), Arc::new(Bell::default()));
    output.start(paper(10), vec![bell.clone()]);
    let mut sink = LinesSink::new(
        Arc::clone(&output),
        0,
        0,
        Box::new(ChangelogTextEncoder::new(None)),
    );
    sink.write(&batch(0, &["longer than ten bytes"])).unwrap();
    close(&mut sink, &bell).expect_err("the reader has gone");
    assert!(output.is_closed());
    sink.write(&batch(0, &["x"])).unwrap();
    assert!(sink.flush().is_err());
}

#[test]
fn a_table_has_one_header_and_aligned_rows() {
    let (output, bell, paper) = (
        Arc::new(StandardOutput::new(1)),
        Arc::new(Bell::default()),
        paper(usize::MAX),
    );
    output.start(paper.clone(), vec![bell.clone()]);
    let mut sink = TableSink::new(Arc::clone(&output), 0, 0);
    sink.write(&batch(1, &["first", "second one"])).unwrap();
    sink.write(&batch(30, &["a\nb"])).unwrap();
    close(&mut sink, &bell).unwrap();
    let text = String::from_utf8(paper.text.lock().unwrap().clone()).unwrap();
    let expected =
        "     id | name\n--------+------------\n      1 | first\n      2 | second one\n     30 | a↵b\n";
    assert_eq!(text, expected);
}

/// Takes a block once it is told to.
struct Gate(Receiver<()>);

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.recv().map_err(|_| ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_has_settled_when_the_writer_has_taken_everything_and_the_backlog_says_so() {
    let (output, bell) = (Arc::new(StandardOutput::new(1)), Arc::new(Bell::default()));
    let (open, gate) = channel();
    let encoder = Box::new(ChangelogTextEncoder::new(None));
    let mut sink = LinesSink::new(Arc::clone(&output), 0, 0, encoder);
    assert_eq!(output.backlog(), None, "nothing was sent");
    sink.write(&batch(0, &["a"])).unwrap();
    assert!(sink.prepare().unwrap().is_empty());
    assert!(!sink.is_settled().unwrap(), "the writer has not even started");
    assert_eq!(output.backlog(), Some(0));
    output.start(Gate(gate), vec![bell.clone()]);
    open.send(()).unwrap();
    bell.wait(0);
    assert!(sink.is_settled().unwrap());
    assert_eq!(output.backlog(), None, "everything is written");
}

#[test]
fn a_block_goes_to_the_writer_when_it_is_full() {
    let output = Arc::new(StandardOutput::new(1));
    let encoder = Box::new(ChangelogTextEncoder::new(None));
    let mut sink = LinesSink::new(Arc::clone(&output), 0, 0, encoder);
    let name = "x".repeat(1_000);
    let mut rows = 0;
    while output.backlog().is_none() {
        sink.write(&batch(0, &[&name])).unwrap();
        rows += 1;
    }
    let most = crate::limits::STDOUT_BLOCK_BYTES / name.len();
    assert!((most - 2..=most + 1).contains(&rows), "{rows} rows filled it");
}
