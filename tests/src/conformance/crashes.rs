//! Crash at every step of a program: its job is killed behind a step of a shard, and goes on from its newest epoch, on
//! another number of shards; rows behind that epoch are fed again, output behind it never happened. At the end the
//! sink must have consumed what the program says.
//!
//! An epoch ends behind every second row, and where all shards have captured one when the kill falls, it counts in
//! every other run: the manifest may be there or not.

use shards::checkpoint::Restore;

use super::program::Program;
use super::{Consolidated, Fed, PAUSE_US, Stages, changes, give, in_turn};

/// Rows between two epochs.
const EPOCH_ROWS: usize = 2;

/// What happens to a job, in order.
enum Event<'p> {
    Row(Fed<'p>),
    Epoch,
    Pause,
    End,
}

/// Kills the job of `program` behind each `stride`-th of its steps; it starts on the first of `shards`, and goes on
/// with the second. Answers how often.
///
/// # Errors
/// The program does not compile or fails, or gives other results; the message says behind which step.
pub fn crash_everywhere(program: &Program, shards: [usize; 2], stride: usize) -> Result<u64, String> {
    let mut run = Run {
        events: events(program),
        stages: Stages::new(program, &shards)?,
        expected: Consolidated::new(program),
        empty: Consolidated::new(program),
    };
    run.expected.apply(program.sink.before.iter().cloned());
    run.expected.apply(program.sink.after.iter().cloned());
    for number in 0.. {
        let kill_at = number * stride + 1;
        let killed = run.killed_once(kill_at);
        let was_killed =
            killed.map_err(|what| format!("{} killed behind step {kill_at}: {what}", program.id))?;
        if !was_killed {
            return Ok(number as u64);
        }
    }
    unreachable!("invariant: a program comes to its end")
}

fn events(program: &Program) -> Vec<Event<'_>> {
    let mut events = Vec::new();
    add_rows(&mut events, in_turn(program, |source| &source.before));
    events.push(Event::Pause);
    add_rows(&mut events, in_turn(program, |source| &source.after));
    events.push(Event::End);
    events
}

fn add_rows<'p>(events: &mut Vec<Event<'p>>, rows: Vec<Fed<'p>>) {
    for (row, number) in rows.into_iter().zip(1_usize..) {
        events.push(Event::Row(row));
        if number.is_multiple_of(EPOCH_ROWS) {
            events.push(Event::Epoch);
        }
    }
}

struct Run<'p> {
    events: Vec<Event<'p>>,
    stages: Stages,
    expected: Consolidated,
    empty: Consolidated,
}

/// What outlives a kill: the newest epoch that counts.
struct Committed {
    restore: Option<Restore>,
    /// Events before it.
    events: usize,
    output: Consolidated,
}

impl Run<'_> {
    /// One kill; answers whether the job had not come to its end before.
    fn killed_once(&mut self, kill_at: usize) -> Result<bool, String> {
        self.stages.next = 0;
        let mut committed = Committed {
            restore: None,
            events: 0,
            output: self.empty.clone(),
        };
        let mut steps_left = kill_at;
        let mut was_killed = false;
        let mut drive = self.stages.start()?;
        let mut next = 0;
        while next < self.events.len() {
            match &self.events[next] {
                Event::Row((source, op, row)) => give(&mut drive, source, *op, row)?,
                Event::Epoch => drive.request_epoch(),
                Event::Pause => drive.advance(PAUSE_US),
                Event::End => drive.end_input(),
            }
            let is_at_rest = drive.settle_within(&mut steps_left)?;
            next += 1;
            let counts = is_at_rest || kill_at.is_multiple_of(2);
            if matches!(self.events[next - 1], Event::Epoch)
                && counts
                && let Some(restore) = drive.captured()?
            {
                committed.output.apply(changes(&mut drive)?);
                committed.restore = Some(restore);
                committed.events = next;
            }
            if !is_at_rest {
                was_killed = true;
                steps_left = usize::MAX;
                drive = self.stages.go_on(drive, committed.restore.clone())?;
                next = committed.events;
            }
        }
        if !drive.has_finished() {
            return Err("the job does not end with its input".to_owned());
        }
        committed.output.apply(changes(&mut drive)?);
        self.expected.compare(&committed.output, "at the end")?;
        Ok(was_killed)
    }
}
