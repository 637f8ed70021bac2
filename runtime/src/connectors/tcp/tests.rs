//! Sockets on the loopback interface, driven as a shard would.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use engine::batch::Batch;
use engine::plan::SourceSpec;
use shards::connector::{Sink, Source, SourcePoll};

use super::sink::TcpSink;
use super::source::TcpSource;
use super::*;
use crate::connectors::testing::{source_spec, table};
use crate::limits::TCP_CONNECTIONS_MAX;

const PATIENCE: Duration = Duration::from_secs(20);
const COLUMNS: [(&str, DataType); 1] = [("id", DataType::Int64)];

/// Tells the test that a shard was woken.
struct Woken(Mutex<Sender<()>>);

impl Wake for Woken {
    fn wake(&self) {
        let _ = self.0.lock().unwrap().send(());
    }
}

/// A source with one shard, and what tells of its being woken.
struct Shard {
    source: TcpSource,
    address: SocketAddr,
    woken: Receiver<()>,
    /// Its clock: each look is long after the one before, so that it asks to be woken.
    now: u64,
}

fn prepared(options: &[(&str, &str)]) -> (SourceSpec, Result<TcpTable, String>) {
    let mut all = vec![("connector", "tcp")];
    all.extend(options);
    let spec = source_spec(table("lines", &COLUMNS, &all));
    let options = TableOptions::new(&spec.table).unwrap();
    let table = TcpTable::source(&options, &IngestLayout::new(&spec), 1).map_err(|error| error.to_string());
    (spec.clone(), table)
}

fn shard(options: &[(&str, &str)]) -> Shard {
    let (spec, table) = prepared(options);
    let table = table.unwrap();
    let (sender, woken) = channel();
    table.start(&[Arc::new(Woken(Mutex::new(sender)))]).unwrap();
    let address = table.bound();
    let source = TcpSource::new(&spec, &table, 0).unwrap();
    Shard {
        source,
        address,
        woken,
        now: 1_000_000_000,
    }
}

/// What the next look finds, waiting to be woken for it.
enum Found {
    Ids(Vec<i64>),
    End,
    Failure(String),
}

impl Shard {
    fn next(&mut self) -> Found {
        loop {
            self.now += 1_000_000_000;
            match self.source.poll(self.now, 1_000) {
                Ok(SourcePoll::Rows { rows, split, .. }) => {
                    assert_eq!(split, 0);
                    return Found::Ids(rows.column(0).as_primitive::<Int64Type>().values().to_vec());
                }
                Ok(SourcePoll::End) => return Found::End,
                Ok(SourcePoll::Pending { poll_at: None }) => {
                    self.woken.recv_timeout(PATIENCE).expect("woken")
                }
                Ok(other) => panic!("{other:?}"),
                Err(error) => return Found::Failure(error.message),
            }
        }
    }

    /// The next `count` ids, sorted.
    fn ids(&mut self, count: usize) -> Vec<i64> {
        let mut ids = Vec::new();
        while ids.len() < count {
            match self.next() {
                Found::Ids(more) => ids.extend(more),
                Found::End => panic!("the end behind {ids:?}"),
                Found::Failure(message) => panic!("{message}"),
            }
        }
        ids.sort_unstable();
        ids
    }
}

const ANY_PORT: (&str, &str) = ("listen", "127.0.0.1:0");

#[test]
fn lines_of_many_connections_become_rows() {
    let mut shard = shard(&[ANY_PORT]);
    let mut clients: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(shard.address).unwrap())
        .collect();
    for (id, client) in clients.iter_mut().enumerate() {
        // The second half of the line comes later.
        write!(client, "{{\"id\":{id}}}\n{{\"id\":1").unwrap();
    }
    assert_eq!(shard.ids(3), [0, 1, 2]);
    for (id, client) in clients.iter_mut().enumerate() {
        writeln!(client, "{id}}}").unwrap();
    }
    assert_eq!(shard.ids(3), [10, 11, 12]);
    // The last line of a connection may end with it.
    write!(clients[0], "{{\"id\":7}}").unwrap();
    drop(clients);
    assert_eq!(shard.ids(1), [7]);
    // The listener stays.
    let mut late = TcpStream::connect(shard.address).unwrap();
    late.write_all(b"{\"id\":8}\n").unwrap();
    assert_eq!(shard.ids(1), [8]);
}

#[test]
fn a_source_that_connects_ends_with_its_peer() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap().to_string();
    let mut shard = shard(&[("connect", &address), ("format", "csv")]);
    let (mut stream, _) = peer.accept().unwrap();
    stream.write_all(b"1\n2\n3\n").unwrap();
    assert_eq!(shard.ids(3), [1, 2, 3]);
    drop(stream);
    assert!(matches!(shard.next(), Found::End));
}

#[test]
fn a_line_that_cannot_be_decoded_is_told_with_its_place() {
    let mut shard = shard(&[ANY_PORT]);
    let mut client = TcpStream::connect(shard.address).unwrap();
    client.write_all(b"{\"id\":1}\n").unwrap();
    assert_eq!(shard.ids(1), [1]);
    client.write_all(b"{\"id\":2}\npoison\n").unwrap();
    assert_eq!(shard.ids(1), [2]);
    let Found::Failure(message) = shard.next() else {
        panic!("a failure")
    };
    let place = format!(
        "table 'lines', connection with {}, line 3",
        client.local_addr().unwrap()
    );
    assert!(message.starts_with(&place), "{message}");
}

#[test]
fn a_sender_waits_for_a_shard_that_does_not_read() {
    let mut shard = shard(&[ANY_PORT]);
    let mut client = TcpStream::connect(shard.address).unwrap();
    client.set_nonblocking(true).unwrap();
    let line = b"{\"id\":5}\n";
    let mut sent = 0;
    // Until the kernel's buffers are full: nothing of it is in this process.
    while let Ok(bytes) = client.write(&line[sent % line.len()..]) {
        sent += bytes;
    }
    let whole = sent / line.len();
    assert!(shard.ids(whole).iter().all(|&id| id == 5));
    client.set_nonblocking(false).unwrap();
    client.write_all(&line[sent % line.len()..]).unwrap();
    assert_eq!(shard.ids(1), [5], "the line that was cut");
}

#[test]
fn connections_beyond_the_bound_wait() {
    let mut shard = shard(&[ANY_PORT]);
    let mut clients = Vec::new();
    for id in 0..TCP_CONNECTIONS_MAX {
        let mut client = TcpStream::connect(shard.address).unwrap();
        writeln!(client, "{{\"id\":{id}}}").unwrap();
        clients.push(client);
        assert_eq!(shard.ids(1), [id as i64]);
    }
    let mut last = TcpStream::connect(shard.address).unwrap();
    last.write_all(b"{\"id\":-1}\n").unwrap();
    shard.now += 1_000_000_000;
    let found = shard.source.poll(shard.now, 1_000);
    assert!(matches!(found, Ok(SourcePoll::Pending { .. })), "{found:?}");
    clients.pop();
    assert_eq!(shard.ids(1), [-1]);
}

fn batch(ids: std::ops::Range<i64>) -> Batch {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let ids = Int64Array::from_iter_values(ids);
    Batch::append(
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids)]).unwrap(),
        0,
    )
}

fn sink_to(address: &str) -> (TcpSink, Receiver<()>) {
    let options = [("connector", "tcp"), ("connect", address)];
    let table = table("out", &COLUMNS, &options);
    let table = TcpTable::sink(&TableOptions::new(&table).unwrap(), &Changelog::Append, 1).unwrap();
    let (sender, woken) = channel();
    table.start(&[Arc::new(Woken(Mutex::new(sender)))]).unwrap();
    let encoder = table.encoder(&batch(0..0).rows().schema(), false);
    (TcpSink::new(&table, 0, encoder).unwrap(), woken)
}

#[test]
fn rows_are_sent_as_lines_and_the_end_closes_the_connection() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut sink, _woken) = sink_to(&peer.local_addr().unwrap().to_string());
    let (stream, _) = peer.accept().unwrap();
    sink.write(&batch(1..3)).unwrap();
    sink.flush().unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "{\"id\":1}");
    assert!(sink.close().unwrap());
    assert_eq!(lines.collect::<Vec<_>>(), ["{\"id\":2}"]);
}

#[test]
fn a_peer_that_does_not_read_holds_the_sink_back() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut sink, woken) = sink_to(&peer.local_addr().unwrap().to_string());
    let (mut stream, _) = peer.accept().unwrap();
    let mut written = 0;
    while sink.ready() {
        sink.write(&batch(0..1_000)).unwrap();
        written += 1_000;
    }
    assert!(!sink.is_settled().unwrap());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.lines().count()
    });
    while !sink.close().unwrap() {
        woken.recv_timeout(PATIENCE).expect("the sink wakes its shard");
    }
    drop(sink);
    assert_eq!(reader.join().unwrap(), written);
}

#[test]
fn a_peer_that_has_gone_is_told() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap().to_string();
    let (mut sink, _woken) = sink_to(&address);
    drop(peer.accept().unwrap());
    let told = (0..1_000).find_map(|_| {
        let written = sink.write(&batch(0..1_000)).and_then(|()| sink.flush());
        written.err()
    });
    let message = told.expect("the connection is reset").message;
    let expected = format!("table 'out': the connection to {address} is lost");
    assert!(message.starts_with(&expected), "{message}");
}

#[test]
fn what_is_wrong_with_an_address_is_told_before_the_job_starts() {
    let refused = |options: &[(&str, &str)], part: &str| {
        let error = prepared(options).1.expect_err("refused");
        assert!(error.contains(part), "{error}");
    };
    refused(&[], "one of 'listen' and 'connect'");
    refused(&[("listen", "9000")], "an address with a port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&[("listen", &address)], "cannot be listened at");
    drop(taken);
    refused(&[("connect", &address)], "cannot be connected to");
    refused(
        &[ANY_PORT, ("format", "csv"), ("csv.header", "true")],
        "have no header",
    );
}
