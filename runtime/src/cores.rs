//! Which cores the shards run on: `--cores` lists, the allowed set, and the placement of shards.
//!
//! The allowed set (affinity mask, hence cpusets and `taskset`) is read once, before any thread is
//! pinned: read later, from a pinned thread, it would hold that thread's core alone.
//!
//! **Invariant.** A [`Placement`] names allowed cores only, one per shard.

use std::sync::OnceLock;

use thiserror::Error;

pub use crate::limits::SHARDS_MAX;

/// A core list that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct CoresError(String);

/// The core of each shard, and what the user should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// `cores[i]` is the core of shard `i`.
    pub cores: Vec<usize>,
    /// One line to tell: several shards share a core.
    pub note: Option<String>,
}

/// The cores that this process may run on, ascending; read once.
///
/// # Errors
/// The kernel does not tell.
pub fn allowed() -> Result<&'static [usize], CoresError> {
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    let cores = ALLOWED.get_or_init(|| {
        let mut cores: Vec<usize> = core_affinity::get_core_ids()
            .unwrap_or_default()
            .into_iter()
            .map(|core| core.id)
            .collect();
        cores.sort_unstable();
        cores
    });
    if cores.is_empty() {
        let message =
            "the kernel does not tell which cores this process may run on (sched_getaffinity failed)";
        return Err(CoresError(message.into()));
    }
    Ok(cores)
}

/// Cores written as `0-3,6`: ascending or not, no core twice.
///
/// # Errors
/// Anything that is not a list of numbers and ranges.
pub fn parse(list: &str) -> Result<Vec<usize>, CoresError> {
    let malformed = |part: &str| {
        CoresError(format!(
            "--cores {list}: '{part}' is not a core or a range of cores; write for example --cores 0-3,6"
        ))
    };
    let mut cores = Vec::new();
    for part in list.split(',').map(str::trim) {
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| malformed(part));
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last < first || last - first >= 4096 {
            return Err(malformed(part));
        }
        for core in first..=last {
            if cores.contains(&core) {
                return Err(CoresError(format!("--cores {list}: core {core} is named twice")));
            }
            cores.push(core);
        }
    }
    Ok(cores)
}

/// A set of cores as `0-3,6`.
pub fn format(cores: &[usize]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = cores;
    while let Some(&first) = rest.first() {
        let run = rest
            .iter()
            .enumerate()
            .take_while(|&(offset, &core)| core == first + offset)
            .count();
        let last = first + run - 1;
        parts.push(if run == 1 {
            first.to_string()
        } else {
            format!("{first}-{last}")
        });
        rest = &rest[run..];
    }
    parts.join(",")
}

/// Where `shards` shards run (default: one per core), on `list` (default: all of `allowed`).
///
/// # Errors
/// A core outside `allowed`; no shard or too many of them.
pub fn place(list: Option<&str>, shards: Option<usize>, allowed: &[usize]) -> Result<Placement, CoresError> {
    assert!(!allowed.is_empty(), "invariant: a process runs somewhere");
    let cores = match list {
        Some(list) => checked(list, allowed)?,
        None => allowed.to_vec(),
    };
    let shards = shards.unwrap_or(cores.len());
    if shards == 0 || shards > SHARDS_MAX {
        return Err(CoresError(format!(
            "--shards {shards}: a job runs on 1 to {SHARDS_MAX} shards"
        )));
    }
    let note = (shards > cores.len()).then(|| {
        format!(
            "{shards} shards share cores {} ({}): fine for testing, slower than one shard per core",
            format(&cores),
            cores.len()
        )
    });
    let placed: Vec<usize> = cores.iter().copied().cycle().take(shards).collect();
    assert_eq!(placed.len(), shards, "invariant: one core per shard");
    Ok(Placement { cores: placed, note })
}

fn checked(list: &str, allowed: &[usize]) -> Result<Vec<usize>, CoresError> {
    let cores = parse(list)?;
    let refused: Vec<usize> = cores
        .iter()
        .copied()
        .filter(|core| !allowed.contains(core))
        .collect();
    if refused.is_empty() {
        return Ok(cores);
    }
    let (noun, verb) = if refused.len() == 1 {
        ("core", "is")
    } else {
        ("cores", "are")
    };
    Err(CoresError(format!(
        "--cores {list}: {noun} {} {verb} not allowed; this process may run on {} core(s): {} \
         (affinity mask, cpuset or taskset)",
        format(&refused),
        allowed.len(),
        format(allowed)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cores_and_ranges_is_read_in_order() {
        assert_eq!(parse("0-3,6"), Ok(vec![0, 1, 2, 3, 6]));
        assert_eq!(parse("5"), Ok(vec![5]));
        assert_eq!(parse("4, 2-3"), Ok(vec![4, 2, 3]));
    }

    #[test]
    fn what_is_not_a_core_list_is_refused_with_an_example() {
        for list in [
            "",
            "a",
            "3-1",
            "0,,1",
            "-1",
            "1-",
            "0-99999999",
            "18446744073709551616",
        ] {
            let error = parse(list).expect_err(list).to_string();
            assert!(error.contains("write for example --cores 0-3,6"), "{error}");
        }
        let twice = parse("0-2,1").expect_err("twice").to_string();
        assert_eq!(twice, "--cores 0-2,1: core 1 is named twice");
    }

    #[test]
    fn cores_are_written_as_they_are_read() {
        assert_eq!(format(&[0, 1, 2, 3, 6]), "0-3,6");
        assert_eq!(format(&[2]), "2");
        assert_eq!(format(&[]), "");
        assert_eq!(format(&[4, 2, 3]), "4,2-3");
    }

    #[test]
    fn without_options_every_allowed_core_gets_a_shard() {
        let placement = place(None, None, &[0, 2, 3]).expect("placed");
        assert_eq!(
            placement,
            Placement {
                cores: vec![0, 2, 3],
                note: None
            }
        );
    }

    #[test]
    fn more_shards_than_cores_go_round_and_are_told() {
        let placement = place(None, Some(5), &[0, 1]).expect("placed");
        assert_eq!(placement.cores, vec![0, 1, 0, 1, 0]);
        let note = placement.note.expect("told");
        assert!(note.starts_with("5 shards share cores 0-1 (2)"), "{note}");
    }

    #[test]
    fn fewer_shards_than_cores_take_the_first_cores() {
        assert_eq!(
            place(Some("3,1"), Some(1), &[0, 1, 2, 3]).expect("placed").cores,
            vec![3]
        );
    }

    #[test]
    fn a_core_that_is_not_allowed_is_named_beside_the_allowed_set() {
        let error = place(Some("0-3"), None, &[0, 1])
            .expect_err("refused")
            .to_string();
        assert!(error.contains("cores 2-3 are not allowed"), "{error}");
        assert!(error.contains("may run on 2 core(s): 0-1"), "{error}");
    }

    #[test]
    fn a_job_needs_a_shard_and_not_too_many() {
        assert!(place(None, Some(0), &[0]).is_err());
        assert!(place(None, Some(SHARDS_MAX + 1), &[0]).is_err());
    }

    #[test]
    fn the_allowed_set_of_this_process_is_known() {
        assert!(!allowed().expect("allowed").is_empty());
    }
}
