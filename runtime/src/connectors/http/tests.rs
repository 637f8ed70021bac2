//! Posts over the loopback interface, taken as a shard would.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use shards::connector::{Source, SourcePoll};

use super::source::HttpSource;
use super::*;
use crate::connectors::testing::{source_spec, table};
use crate::limits::{HTTP_BODIES_MAX, HTTP_BODY_BYTES_MAX, HTTP_POSTS_MAX};

const PATIENCE: Duration = Duration::from_secs(20);

/// Tells the test that a shard was woken.
struct Woken(Mutex<Sender<()>>);

impl Wake for Woken {
    fn wake(&self) {
        let _ = self.0.lock().unwrap().send(());
    }
}

struct Shard {
    table: Arc<HttpTable>,
    source: HttpSource,
    woken: Receiver<()>,
}

fn shard(options: &[(&str, &str)], has_checkpoints: bool) -> Shard {
    let mut all = vec![("connector", "http"), ("listen", "127.0.0.1:0")];
    all.extend(options);
    let spec = source_spec(table("posted", &[("id", DataType::Int64)], &all));
    let options = TableOptions::new(&spec.table).unwrap();
    let table = HttpTable::prepare(&options, &IngestLayout::new(&spec), has_checkpoints).unwrap();
    let table = Arc::new(table);
    let (sender, woken) = channel();
    table.start(&[Arc::new(Woken(Mutex::new(sender)))]).unwrap();
    let source = HttpSource::new(&spec, &table, 0).unwrap();
    Shard { table, source, woken }
}

impl Shard {
    /// Waits for a post; what a look then finds.
    fn next(&mut self) -> Vec<i64> {
        self.woken.recv_timeout(PATIENCE).expect("a post wakes the shard");
        self.look()
    }

    fn look(&mut self) -> Vec<i64> {
        let mut ids = Vec::new();
        loop {
            match self.source.poll(0, 2).unwrap() {
                SourcePoll::Rows { rows, .. } => {
                    assert!(rows.num_rows() <= 2);
                    ids.extend(rows.column(0).as_primitive::<Int64Type>().values());
                }
                SourcePoll::Pending { poll_at: None } => return ids,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A request that is under way.
struct Client(BufReader<TcpStream>);

fn request(table: &HttpTable, method: &str, body: &str) -> Client {
    let mut stream = TcpStream::connect(table.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    Client(BufReader::new(stream))
}

impl Client {
    /// Status and body.
    fn answer(self) -> (u16, String) {
        let mut lines = self.0.lines().map(Result::unwrap);
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = lines.skip_while(|line| !line.is_empty());
        body.next();
        (status, body.collect::<Vec<_>>().join("\n"))
    }

    /// Whether nothing has come yet.
    fn is_waiting(&self) -> bool {
        let stream = self.0.get_ref();
        stream.set_nonblocking(true).unwrap();
        let found = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        found.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

#[test]
fn a_post_is_answered_once_its_epoch_is_committed() {
    let mut shard = shard(&[], true);
    let first = request(&shard.table, "POST", "{\"id\":1}\n{\"id\":2}\n{\"id\":3}");
    assert_eq!(shard.next(), [1, 2, 3]);
    shard.source.positions();
    let second = request(&shard.table, "POST", "{\"id\":4}\n");
    assert_eq!(shard.next(), [4]);
    assert!(first.is_waiting() && second.is_waiting());
    shard.table.committed(1);
    assert_eq!(first.answer(), (200, String::new()));
    shard.table.committed(1);
    assert!(second.is_waiting(), "its epoch is the second");
    shard.source.positions();
    shard.table.committed(2);
    assert_eq!(second.answer().0, 200);
}

#[test]
fn without_checkpoints_a_post_is_answered_once_it_is_taken() {
    let mut shard = shard(&[("format", "csv")], false);
    let client = request(&shard.table, "POST", "1\n2\n");
    assert_eq!(shard.next(), [1, 2]);
    assert_eq!(client.answer().0, 200);
}

#[test]
fn what_cannot_be_taken_is_refused_with_its_reason() {
    let mut shard = shard(&[], true);
    let poison = request(&shard.table, "POST", "{\"id\":1}\npoison\n{\"id\":3}\n");
    assert_eq!(shard.next(), [] as [i64; 0], "all or nothing");
    let (status, reason) = poison.answer();
    assert!(
        status == 400 && reason.starts_with("line 2: "),
        "{status} {reason}"
    );
    assert_eq!(request(&shard.table, "GET", "").answer().0, 405);
    let mut stream = TcpStream::connect(shard.table.address).unwrap();
    let bytes = HTTP_BODY_BYTES_MAX + 1;
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let large = Client(BufReader::new(stream));
    assert_eq!(large.answer().0, 413);
}

#[test]
fn malformed_records_are_left_out_where_the_table_says_so() {
    let mut shard = shard(&[("json.ignore-parse-errors", "true")], false);
    let client = request(&shard.table, "POST", "{\"id\":1}\npoison\n{\"id\":3}\n");
    assert_eq!(shard.next(), [1, 3]);
    assert_eq!(client.answer().0, 200);
    assert_eq!(shard.source.statistics().malformed, 1);
}

#[test]
fn a_job_that_is_busy_says_so() {
    let mut shard = shard(&[], false);
    let clients: Vec<Client> = (0..HTTP_WAITING_MAX)
        .map(|id| {
            let client = request(&shard.table, "POST", &format!("{{\"id\":{id}}}"));
            shard.woken.recv_timeout(PATIENCE).unwrap();
            client
        })
        .collect();
    let (status, reason) = request(&shard.table, "POST", "{\"id\":9}").answer();
    assert!(
        status == 503 && reason.contains("come again"),
        "{status} {reason}"
    );
    assert_eq!(shard.look().len(), HTTP_WAITING_MAX);
    assert!(clients.into_iter().all(|client| client.answer().0 == 200));
}

#[test]
fn posts_under_way_are_bounded() {
    let shard = shard(&[], true);
    shard.table.under_way.store(HTTP_POSTS_MAX, Ordering::Relaxed);
    let (status, reason) = request(&shard.table, "POST", "{\"id\":1}").answer();
    assert!(
        status == 503 && reason.contains("too many posts wait"),
        "{status} {reason}"
    );
}

#[test]
fn bodies_that_are_read_at_once_are_bounded() {
    let mut shard = shard(&[], false);
    // Clients that do not send what they have announced.
    let slow: Vec<TcpStream> = (0..HTTP_BODIES_MAX)
        .map(|_| {
            let mut stream = TcpStream::connect(shard.table.address).unwrap();
            write!(
                stream,
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n"
            )
            .unwrap();
            stream
        })
        .collect();
    let under_way = shard.table.under_way.clone();
    let started = std::time::Instant::now();
    let until = |posts: usize| {
        while under_way.load(Ordering::Relaxed) < posts {
            assert!(started.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
    };
    until(HTTP_BODIES_MAX);
    let client = request(&shard.table, "POST", "{\"id\":1}");
    until(HTTP_BODIES_MAX + 1);
    assert_eq!(shard.look(), [] as [i64; 0], "it waits for its turn");
    drop(slow);
    assert_eq!(shard.next(), [1]);
    assert_eq!(client.answer().0, 200);
}

#[test]
fn who_was_not_answered_is_told_when_the_job_stops() {
    let mut shard = shard(&[], true);
    let client = request(&shard.table, "POST", "{\"id\":1}");
    assert_eq!(shard.next(), [1]);
    drop(shard);
    let (status, reason) = client.answer();
    assert!(
        status == 503 && reason.contains("has stopped"),
        "{status} {reason}"
    );
}
