//! What the process has used of the machine: CPU time and peak memory.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads of this process so far.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// The largest resident size of this process so far, in bytes; `None` where /proc is not mounted.
pub fn peak_memory_bytes() -> Option<u64> {
    high_water_mark(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Forgets the peak so far: [`peak_memory_bytes`] then tells the largest size from here on. Where
/// the kernel does not permit that, it goes on telling the peak of the whole process.
pub fn reset_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// `VmHWM:     1234 kB` of `/proc/self/status`, in bytes.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read_from_the_status_file() {
        let status = "Name:\tvelocore\nVmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nThreads:\t3\n";
        assert_eq!(high_water_mark(status), Some(2 << 20));
        assert_eq!(high_water_mark("Name:\tvelocore\n"), None);
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(peak_memory_bytes().expect("/proc is mounted") > 0);
    }
}
