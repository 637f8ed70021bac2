//! Apache Flink's own table programs, if they are there: `../shared/conformance` beside this repository, or
//! where `VELOCORE_CONFORMANCE` says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::conformance::program::Program;
use tests::conformance::{Restarts, find, run};

/// Programs that cannot pass yet, each with the reason. One that passes must leave this list.
const NOT_YET: [(&str, &str); 0] = [];

#[test]
fn flinks_programs_give_flinks_results() {
    let Some(path) = find() else {
        println!("left out: the programs are not there");
        return;
    };
    let only = std::env::var("VELOCORE_PROGRAM").ok();
    let mut programs = Program::read_all(&path).expect("the programs can be read");
    programs.retain(|program| only.as_ref().is_none_or(|only| program.id.contains(only)));
    let modes: [(&[usize], Restarts); 8] = [
        (&[1], Restarts::Never),
        (&[3], Restarts::Never),
        (&[1], Restarts::AtPoint),
        (&[3], Restarts::AtPoint),
        (&[1], Restarts::AfterEveryRow),
        (&[3], Restarts::AfterEveryRow),
        (&[1, 3, 2], Restarts::AtPoint),
        (&[1, 3, 2], Restarts::AfterEveryRow),
    ];
    let mut broken = Vec::new();
    for (shards, restarts) in modes {
        let mode = format!("shards {shards:?}, restarts {restarts:?}");
        let mut failures = Vec::new();
        let mut not_yet = Vec::new();
        for program in &programs {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(program, shards, restarts)));
            let outcome = outcome.unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                Err(format!("panic: {}", text.unwrap_or_default()))
            });
            let known = NOT_YET.iter().find(|(id, _)| *id == program.id);
            match (outcome, known) {
                (Ok(()), None) => {}
                (Ok(()), Some(_)) => failures.push(format!("{}: passes, and is said not to", program.id)),
                (Err(_), Some((id, reason))) => not_yet.push(format!("{id}: {reason}")),
                (Err(error), None) => failures.push(format!("{}: {error}", program.id)),
            }
        }
        println!(
            "{} of {} programs pass, {mode}; not yet: {not_yet:?}",
            programs.len() - failures.len() - not_yet.len(),
            programs.len()
        );
        broken.extend(failures.into_iter().map(|failure| format!("{mode}: {failure}")));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
