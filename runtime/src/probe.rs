//! What the machine permits: locked memory and io_uring, asked before the first executor starts.
//!
//! glommio checks both only inside its own threads: it panics where io_uring is forbidden (many
//! container runtimes), and its `spawn` has answered `Ok` by then. So the runtime asks first, says
//! cause and remedy in one line, and takes the executor that works.

use std::io;

use io_uring::{IoUring, Probe, opcode};
use rustix::process::{Resource, getrlimit};

/// Locked memory that glommio insists on.
const LOCKED_MEMORY_BYTES_MIN: u64 = 512 * 1024;

/// What the machine answered.
#[derive(Debug)]
pub struct Facts {
    /// The soft limit of locked memory; `None` = unlimited.
    pub locked_memory_bytes: Option<u64>,
    /// Whether a ring could be set up with every operation that glommio needs.
    pub io_uring: Result<(), io::Error>,
}

/// Asks the machine.
pub fn facts() -> Facts {
    Facts {
        locked_memory_bytes: getrlimit(Resource::Memlock).current,
        io_uring: try_io_uring(),
    }
}

/// Why the io_uring executor cannot run, with the remedy; `None` when it can.
pub fn obstacle(facts: &Facts) -> Option<String> {
    if let Err(error) = &facts.io_uring {
        return Some(io_uring_obstacle(error));
    }
    let limit = facts
        .locked_memory_bytes
        .filter(|&limit| limit < LOCKED_MEMORY_BYTES_MIN)?;
    Some(format!(
        "the limit of locked memory is {} KiB and io_uring needs {} KiB; raise it with `ulimit -l 8192`, \
         LimitMEMLOCK=8M (systemd) or `docker run --ulimit memlock=8388608`",
        limit / 1024,
        LOCKED_MEMORY_BYTES_MIN / 1024
    ))
}

fn io_uring_obstacle(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "allow it with `sysctl kernel.io_uring_disabled=0` or, in a container, a seccomp profile that permits it"
        }
        io::ErrorKind::Unsupported => {
            "it needs Linux 5.8 or newer, and in a container a seccomp profile that permits it"
        }
        io::ErrorKind::OutOfMemory => "raise the limit of locked memory with `ulimit -l 8192`",
        _ => "it needs Linux 5.8 or newer",
    };
    format!("io_uring is not available ({error}); {remedy}")
}

/// Sets up a small ring and asks it for the operations that glommio exits the process over.
fn try_io_uring() -> io::Result<()> {
    let ring = IoUring::new(2)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        opcode::Readv::CODE,
        opcode::PollAdd::CODE,
        opcode::Timeout::CODE,
        opcode::TimeoutRemove::CODE,
        opcode::LinkTimeout::CODE,
        opcode::Accept::CODE,
        opcode::Connect::CODE,
        opcode::Fallocate::CODE,
        opcode::OpenAt::CODE,
        opcode::Close::CODE,
        opcode::Statx::CODE,
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::Send::CODE,
        opcode::Recv::CODE,
    ];
    if needed.iter().all(|&code| probe.is_supported(code)) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "operations are missing in this kernel",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts_with(locked_memory_bytes: Option<u64>, io_uring: io::Result<()>) -> Facts {
        Facts {
            locked_memory_bytes,
            io_uring,
        }
    }

    #[test]
    fn nothing_is_in_the_way_with_enough_locked_memory_and_io_uring() {
        assert_eq!(obstacle(&facts_with(Some(512 * 1024), Ok(()))), None);
        assert_eq!(obstacle(&facts_with(None, Ok(()))), None);
    }

    #[test]
    fn too_little_locked_memory_is_told_with_three_remedies() {
        let text = obstacle(&facts_with(Some(64 * 1024), Ok(()))).expect("an obstacle");
        assert!(
            text.contains("the limit of locked memory is 64 KiB and io_uring needs 512 KiB"),
            "{text}"
        );
        for remedy in [
            "ulimit -l 8192",
            "LimitMEMLOCK=8M",
            "docker run --ulimit memlock=8388608",
        ] {
            assert!(text.contains(remedy), "{text}");
        }
    }

    #[test]
    fn forbidden_io_uring_is_told_with_its_cause() {
        let denied = io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error());
        let text = obstacle(&facts_with(None, Err(denied))).expect("an obstacle");
        assert!(
            text.contains("io_uring is not available (Operation not permitted"),
            "{text}"
        );
        assert!(text.contains("kernel.io_uring_disabled=0"), "{text}");
    }

    #[test]
    fn an_old_kernel_is_told_which_one_is_needed() {
        let missing = io::Error::from_raw_os_error(rustix::io::Errno::NOSYS.raw_os_error());
        let text = obstacle(&facts_with(Some(0), Err(missing))).expect("an obstacle");
        assert!(text.contains("Linux 5.8"), "{text}");
    }
}
