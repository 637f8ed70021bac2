//! Signals of the process, as events for the control thread.
//!
//! SIGINT and SIGTERM ask for a graceful stop; a second one ends the process at once, whatever hangs:
//! nothing is waited for, not even for what runs at the end of a process. SIGUSR1 asks for a dump of the histograms.

use std::io;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Instant;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

use crate::events::Event;
use crate::stopping::StopRequests;

/// The exit code of a process ended by signal number `signal`, as shells count.
pub fn exit_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// Whether `signal` asks the job to stop.
pub fn asks_to_stop(signal: i32) -> bool {
    signal == SIGINT || signal == SIGTERM
}

/// Whether `signal` asks for a dump of the histograms.
pub fn asks_for_histograms(signal: i32) -> bool {
    signal == SIGUSR1
}

/// The thread that listens; it ends when this is dropped.
#[derive(Debug)]
pub struct SignalListener {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalListener {
    /// Listens, and sends every signal to `events`.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn start(events: Sender<Event>) -> io::Result<SignalListener> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
        let handle = signals.handle();
        let listen = move || {
            let mut stops = StopRequests::default();
            for signal in signals.forever() {
                if asks_to_stop(signal) && stops.must_end(Instant::now()) {
                    signal_hook::low_level::exit(i32::from(exit_code(signal)));
                }
                // After the job's end nobody listens any more.
                let _ = events.send(Event::Signal(signal));
            }
        };
        let thread = std::thread::Builder::new().name("signals".into()).spawn(listen)?;
        Ok(SignalListener {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for SignalListener {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It does nothing that can panic; if it did, the job has ended all the same.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(SIGINT), 130);
        assert_eq!(exit_code(SIGTERM), 143);
    }

    #[test]
    fn a_listener_ends_when_it_is_dropped() {
        let (sender, receiver) = std::sync::mpsc::channel();
        drop(SignalListener::start(sender).expect("started"));
        assert!(receiver.recv().is_err());
    }
}
