//! The control thread against a scripted job.

use std::cell::RefCell;
use std::sync::mpsc::{Sender, channel};

use engine::plan::{Settings, StreamPlan};
use signal_hook::consts::{SIGINT, SIGUSR1};

use super::*;

/// Answers as shards would, through the queue.
struct ScriptedJob {
    asked: RefCell<Vec<&'static str>>,
    events: Sender<Event>,
    shards: usize,
    output_closed: bool,
}

impl ScriptedJob {
    fn end_all(&self) {
        for shard in 0..self.shards {
            // A shard that has failed is not there any more.
            let _ = self.events.send(Event::Ended(shard, Ok(())));
        }
    }
}

impl JobView for ScriptedJob {
    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn request_stop(&self) {
        self.asked.borrow_mut().push("stop");
        self.end_all();
    }

    fn request_epoch(&self) {
        self.asked.borrow_mut().push("epoch");
    }

    fn abort(&self) {
        self.asked.borrow_mut().push("abort");
        (1..self.shards).for_each(|shard| {
            let _ = self.events.send(Event::Ended(shard, Ok(())));
        });
    }

    fn request_measurements(&self) {
        self.asked.borrow_mut().push("measure");
        for shard in 0..self.shards {
            let mut profile = ShardProfile::new(shard, &empty_plan());
            profile
                .event_latency
                .record(1_000 * (shard as u64 + 1))
                .expect("grows");
            self.events
                .send(Event::Measured(Box::new(profile)))
                .expect("listened to");
        }
    }

    fn output_closed(&self) -> bool {
        self.output_closed
    }

    fn output_backlog(&self) -> Option<u64> {
        None
    }
}

fn empty_plan() -> StreamPlan {
    StreamPlan {
        nodes: Vec::new(),
        settings: Settings::default(),
    }
}

fn supervise(shards: usize, output_closed: bool, first: Vec<Event>) -> (Ending, Vec<&'static str>) {
    let (events, receiver) = channel();
    for event in first {
        events.send(event).expect("listened to");
    }
    let job = ScriptedJob {
        asked: RefCell::default(),
        events,
        shards,
        output_closed,
    };
    let options = ControlOptions {
        progress: false,
        histogram_directory: None,
        histogram_interval: Duration::from_secs(10),
    };
    let control = Control::new(&job, shards, ProcessClock::start(), &options).expect("nothing to write");
    let ending = control.supervise(&receiver);
    let asked = job.asked.borrow().clone();
    (ending, asked)
}

#[test]
fn a_job_ends_when_all_shards_have_ended() {
    let events = vec![
        Event::Ready(0),
        Event::Ready(1),
        Event::Ended(1, Ok(())),
        Event::Ended(0, Ok(())),
    ];
    let (ending, asked) = supervise(2, false, events);
    assert_eq!(ending.failure, None);
    assert!(asked.is_empty());
}

#[test]
fn a_failing_shard_stops_the_others_and_its_failure_is_kept() {
    let failure = Failure::Job("bad row".into());
    let (ending, asked) = supervise(3, false, vec![Event::Ended(0, Err(failure.clone()))]);
    assert_eq!(ending.failure, Some((0, failure)));
    assert_eq!(asked, ["abort"]);
}

#[test]
fn an_interrupt_asks_for_a_graceful_stop() {
    let (ending, asked) = supervise(2, false, vec![Event::Signal(SIGINT)]);
    assert_eq!(ending.stopped_by, Some(SIGINT));
    assert_eq!(asked, ["stop"]);
    assert_eq!(ending.failure, None);
}

#[test]
fn measurements_of_all_shards_are_merged_on_demand() {
    let (ending, asked) = supervise(2, false, vec![Event::Signal(SIGUSR1), Event::Signal(SIGINT)]);
    assert_eq!(asked, ["measure", "stop"]);
    assert_eq!(ending.histograms["event-latency"].len(), 2);
}

#[test]
fn a_reader_that_goes_away_ends_the_job_without_a_failure() {
    let (ending, asked) = supervise(2, true, vec![Event::Ended(0, Ok(()))]);
    assert!(ending.output_closed);
    assert_eq!(ending.failure, None);
    assert_eq!(asked, ["abort"]);
}

#[test]
fn the_cause_is_told_and_not_its_consequence() {
    let cause = Failure::Panic("a broken invariant".into());
    let events = vec![
        Event::Ended(1, Err(Failure::Consequence("shard 0 is gone".into()))),
        Event::Ended(0, Err(cause.clone())),
    ];
    let (ending, _) = supervise(2, false, events);
    assert_eq!(ending.failure, Some((0, cause)));
}
