//! Wakes a shard once one of its sockets can be read or written, where the shard asked for it.
//!
//! One thread a table waits for all shards (epoll, one shot). A shard that is busy never asks, so that a socket full of
//! traffic wakes nobody.
//!
//! **Invariant.** Asking is never too late: readiness that is there already wakes at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::connectors::Wake;

/// The number under which the end of the thread is told.
const END: u64 = u64::MAX;

/// The thread, and what it waits with.
pub struct Readiness {
    epoll: Arc<OwnedFd>,
    end: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

impl Readiness {
    /// Starts the thread; it ends with its owner.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(wakers: Vec<Arc<dyn Wake>>) -> std::io::Result<Readiness> {
        let epoll = Arc::new(epoll::create(CreateFlags::CLOEXEC)?);
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&*epoll, &end, EventData::new_u64(END), EventFlags::IN)?;
        let waited = epoll.clone();
        let thread = std::thread::Builder::new()
            .name("velocore-sockets".to_string())
            .spawn(move || wake_shards(&waited, &wakers))?;
        Ok(Readiness {
            epoll,
            end,
            thread: Some(thread),
        })
    }

    /// Makes a descriptor of shard `shard` known; it is watched once that is asked for, and until it is closed.
    ///
    /// # Errors
    /// The system refuses.
    pub fn add(&self, descriptor: BorrowedFd<'_>, shard: usize) -> std::io::Result<()> {
        let flags = EventFlags::ONESHOT;
        Ok(epoll::add(
            &*self.epoll,
            descriptor,
            EventData::new_u64(shard as u64),
            flags,
        )?)
    }

    /// Wakes the shard once, when the descriptor can be read.
    ///
    /// # Errors
    /// The system refuses.
    pub fn await_readable(&self, descriptor: BorrowedFd<'_>, shard: usize) -> std::io::Result<()> {
        self.arm(descriptor, shard, EventFlags::IN)
    }

    /// Wakes the shard once, when the descriptor can be written.
    ///
    /// # Errors
    /// The system refuses.
    pub fn await_writable(&self, descriptor: BorrowedFd<'_>, shard: usize) -> std::io::Result<()> {
        self.arm(descriptor, shard, EventFlags::OUT)
    }

    fn arm(&self, descriptor: BorrowedFd<'_>, shard: usize, interest: EventFlags) -> std::io::Result<()> {
        let flags = interest | EventFlags::ONESHOT;
        Ok(epoll::modify(
            &*self.epoll,
            descriptor,
            EventData::new_u64(shard as u64),
            flags,
        )?)
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let told = rustix::io::write(self.end.as_fd(), &1_u64.to_ne_bytes());
        if let (Some(thread), Ok(_)) = (self.thread.take(), told) {
            // A panic there was told when it happened.
            let _ = thread.join();
        }
    }
}

fn wake_shards(epoll: &OwnedFd, wakers: &[Arc<dyn Wake>]) {
    let mut events: Vec<Event> = Vec::with_capacity(64);
    loop {
        events.clear();
        match epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::error!("sockets cannot be watched any more: {error}");
                return;
            }
        }
        for event in &events {
            match event.data.u64() {
                END => return,
                shard => wakers[shard as usize].wake(),
            }
        }
    }
}
