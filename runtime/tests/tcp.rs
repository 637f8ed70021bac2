//! Lines from a socket to a socket, through the binary.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A job that runs beside the test; it is killed with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn velocore(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velocore"));
    command.args(words).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn a_filter_between_two_sockets() {
    let feed = TcpListener::bind("127.0.0.1:0").unwrap();
    let back = TcpListener::bind("127.0.0.1:0").unwrap();
    let [from, to] = [&feed, &back].map(|listener| listener.local_addr().unwrap());
    let sql = format!(
        "CREATE TABLE line (id BIGINT, word STRING) WITH ('connector' = 'tcp', 'connect' = '{from}', 'format' = 'csv'); \
         CREATE TABLE kept (id BIGINT, word STRING) WITH ('connector' = 'tcp', 'connect' = '{to}', 'format' = 'json'); \
         INSERT INTO kept SELECT id, word FROM line WHERE id > 1"
    );
    let mut job = Running(
        velocore(&["run", "--quiet", "--shards", "2", "-e", &sql])
            .spawn()
            .unwrap(),
    );
    let (mut feed, _) = feed.accept().unwrap();
    // Each shard has a connection of its own.
    let peers: Vec<TcpStream> = (0..2).map(|_| back.accept().unwrap().0).collect();
    feed.write_all(b"1,one\n2,two\n3,three\n").unwrap();
    let mut lines: Vec<String> = Vec::new();
    let mut readers: Vec<BufReader<TcpStream>> = peers.into_iter().map(BufReader::new).collect();
    drop(feed);
    for reader in &mut readers {
        reader.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        lines.extend(reader.lines().map(Result::unwrap));
    }
    lines.sort();
    assert_eq!(
        lines,
        ["{\"id\":2,\"word\":\"two\"}", "{\"id\":3,\"word\":\"three\"}"]
    );
    assert!(job.0.wait().unwrap().success());
}

#[test]
fn a_job_that_listens_takes_lines_until_it_is_stopped() {
    // A port that is free now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sql = format!(
        "CREATE TABLE line (id BIGINT) WITH ('connector' = 'tcp', 'listen' = '{address}', 'format' = 'json'); SELECT id FROM line"
    );
    let mut command = velocore(&[
        "run", "--quiet", "--shards", "2", "--output", "ndjson", "-e", &sql,
    ]);
    let mut job = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut output = BufReader::new(job.0.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let started = std::time::Instant::now();
    let mut clients = Vec::new();
    while clients.len() < 8 {
        match TcpStream::connect(address) {
            Ok(client) => clients.push(client),
            Err(error) if started.elapsed() > PATIENCE => panic!("{error}"),
            // The job is about to listen.
            Err(_) => std::thread::yield_now(),
        }
    }
    for (id, client) in clients.iter_mut().enumerate() {
        writeln!(client, "{{\"id\":{id}}}").unwrap();
    }
    let mut found: Vec<String> = (0..8).map(|_| output.next().unwrap()).collect();
    found.sort();
    let expected: Vec<String> = (0..8).map(|id| format!("{{\"id\":{id}}}")).collect();
    assert_eq!(found, expected);
    let stopped = Command::new("kill")
        .arg("-TERM")
        .arg(job.0.id().to_string())
        .status();
    assert!(stopped.unwrap().success());
    assert_eq!(job.0.wait().unwrap().code(), Some(143), "stopped, not failed");
}

#[test]
fn an_address_that_nobody_listens_at_is_told_with_its_place() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sql = format!(
        "CREATE TABLE s (id BIGINT) WITH ('connector' = 'tcp', 'connect' = '{address}'); INSERT INTO s VALUES (1)"
    );
    let mut job = velocore(&["run", "--quiet", "-e", &sql]).spawn().unwrap();
    let mut told = String::new();
    job.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(!job.wait().unwrap().success());
    let expected = format!("table 's': {address} cannot be connected to");
    assert!(
        told.contains(&expected) && told.contains("<command line>:1:67"),
        "{told}"
    );
}
