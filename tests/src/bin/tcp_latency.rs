//! How long lines take from one socket to another: sends at a fixed rate, by schedule, and counts each line's time from
//! when it was due, not from when it was sent (no coordinated omission).
//!
//! ```text
//! tcp-latency direct RATE SECONDS                 to itself, through nothing but the kernel
//! tcp-latency through TO AT RATE SECONDS          lines go to address TO, and come back to address AT, where it listens
//! ```
//! A line is `{"id":7,"due":123}`, of which the third with `id % 3 = 0` need not come back. Lines that are due within the same
//! 200 µs are sent together, and are due together. Prints percentiles in microseconds.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often lines are sent.
const TICK: Duration = Duration::from_micros(200);
/// The first lines warm up caches and buffers.
const WARM: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["direct", rate, seconds] => measure(None, "127.0.0.1:0", rate, seconds),
        ["through", to, at, rate, seconds] => measure(Some(to), at, rate, seconds),
        _ => Err("usage: tcp-latency direct RATE SECONDS | through TO AT RATE SECONDS".to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("tcp-latency: {message}");
            ExitCode::FAILURE
        }
    }
}

fn measure(to: Option<&str>, at: &str, rate: &str, seconds: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let rate: u64 = rate.parse().map_err(|_| "RATE is lines a second")?;
    let seconds: u64 = seconds.parse().map_err(|_| "SECONDS is a number")?;
    let listener = TcpListener::bind(at).map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?.to_string();
    println!("listening at {at}");
    let sender = connect(to.unwrap_or(&at))?;
    let (receiver, _) = listener.accept().map_err(failed)?;
    receiver.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let started = Instant::now();
    let lines = rate * (WARM.as_secs() + seconds);
    let sending = std::thread::spawn(move || send(sender, started, rate, lines));
    let expected = (0..lines).filter(|id: &u64| !id.is_multiple_of(3)).count();
    let mut latencies = Vec::with_capacity(expected);
    for line in BufReader::new(receiver).lines() {
        let line = line.map_err(failed)?;
        let now = started.elapsed();
        let (id, due) = numbers(&line).ok_or_else(|| format!("a line that was not sent: {line}"))?;
        if !id.is_multiple_of(3) {
            latencies.push((due, now.saturating_sub(Duration::from_nanos(due))));
        }
        if latencies.len() == expected {
            break;
        }
    }
    let late = sending
        .join()
        .map_err(|_| "the sender panicked")?
        .map_err(failed)?;
    if latencies.len() != expected {
        return Err(format!("{} of {expected} lines came back", latencies.len()));
    }
    let mut measured: Vec<Duration> = latencies
        .into_iter()
        .filter(|&(due, _)| Duration::from_nanos(due) >= WARM)
        .map(|(_, latency)| latency)
        .collect();
    measured.sort_unstable();
    let at = |share: f64| measured[((measured.len() - 1) as f64 * share) as usize].as_micros();
    println!(
        "{} lines at {rate}/s: p50 {} us, p99 {} us, p99.9 {} us, p99.99 {} us, max {} us; sent at most {} us late",
        measured.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(0.9999),
        at(1.0),
        late.as_micros()
    );
    Ok(())
}

/// Whoever is to listen may be about to start.
fn connect(to: &str) -> Result<TcpStream, String> {
    let started = Instant::now();
    loop {
        match TcpStream::connect(to) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                return Ok(stream);
            }
            Err(_) if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(format!("{to}: {error}")),
        }
    }
}

/// Sends each line when it is due; how late the latest was handed to the kernel.
fn send(mut to: TcpStream, started: Instant, rate: u64, lines: u64) -> std::io::Result<Duration> {
    let mut latest = Duration::ZERO;
    let mut text = Vec::new();
    let mut id = 0;
    for tick in 0.. {
        let due = TICK * tick;
        let until = (due.as_nanos() as u64 * rate / 1_000_000_000).min(lines);
        if until > id {
            std::thread::sleep(due.saturating_sub(started.elapsed()));
            text.clear();
            for id in id..until {
                writeln!(text, "{{\"id\":{id},\"due\":{}}}", due.as_nanos())?;
            }
            to.write_all(&text)?;
            latest = latest.max(started.elapsed().saturating_sub(due));
            id = until;
        }
        if id == lines {
            break;
        }
    }
    Ok(latest)
}

/// The two numbers of a line.
fn numbers(line: &str) -> Option<(u64, u64)> {
    let mut numbers = line
        .split(|letter: char| !letter.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
