//! `SET 'key' = 'value'`: the settings that the engine reads, and Flink's that change nothing here.
//!
//! **Invariant.** A setting is applied, or its key stands in [`WITHOUT_EFFECT`] with the reason why
//! ignoring it cannot change results, or it is an error.

use crate::error::SqlError;
use crate::plan::Settings;
use crate::sql::option_values::{parse_boolean, parse_duration_us};
use crate::sql::statement::SetOption;
use crate::sql::suggest;

const FLUSH: &str = "table.exec.mini-batch.allow-latency";
const PHASES: &str = "table.optimizer.agg-phase-strategy";
const IDLE: &str = "scan.watermark.idle-timeout";
const IDLE_FLINK: &str = "table.exec.source.idle-timeout";
const MAX_FUTURE: &str = "scan.watermark.max-future";
const TIME_ZONE: &str = "table.local-time-zone";
const RUNTIME_MODE: &str = "execution.runtime-mode";
const REPEATS: &str = "table.exec.source.cdc-events-duplicate";
const LATENESS: &str = "table.exec.emit.allow-lateness";
const STATE_TTL: &str = "table.exec.state.ttl";
const CHECKPOINT_INTERVAL: &str = "execution.checkpointing.interval";
const CHECKPOINT_DIRECTORY: &str = "execution.checkpointing.dir";
const CHECKPOINT_DIRECTORY_FLINK: &str = "state.checkpoints.dir";

/// Keys that are read, with what they do.
pub const SETTINGS: [(&str, &str); 13] = [
    (
        LATENESS,
        "how long after its end a window is corrected by rows that come late, in event time; 0 = not at all",
    ),
    (
        FLUSH,
        "longest time that a change waits for more changes of its key",
    ),
    (
        PHASES,
        "AUTO, ONE_PHASE or TWO_PHASE: whether rows are pre-aggregated before they are exchanged",
    ),
    (
        IDLE,
        "a split without rows for this long holds the watermark no more; 0 = never",
    ),
    (IDLE_FLINK, "the same under Flink's name"),
    (
        MAX_FUTURE,
        "event times further ahead of the clock are clamped and counted; 0 = trusted",
    ),
    (
        REPEATS,
        "true: a source of changes may tell a change twice; the second is passed over, by primary key",
    ),
    (TIME_ZONE, "UTC"),
    (RUNTIME_MODE, "streaming"),
    (
        STATE_TTL,
        "rows of a join that came longer ago than this are forgotten; 0 = kept as long as results need them",
    ),
    (
        CHECKPOINT_INTERVAL,
        "how often an epoch ends, where there is a directory; the command line's --checkpoint-interval comes first",
    ),
    (
        CHECKPOINT_DIRECTORY,
        "the directory of the job's checkpoints; the command line's --checkpoint-dir comes first",
    ),
    (CHECKPOINT_DIRECTORY_FLINK, "the same under Flink's older name"),
];

/// Flink's keys that change nothing here, and why no result depends on them.
pub const WITHOUT_EFFECT: [(&str, &str); 14] = [
    (
        "parallelism.default",
        "shards are chosen when the job is started; results are the same on any number",
    ),
    (
        "table.exec.resource.default-parallelism",
        "as parallelism.default",
    ),
    (
        "pipeline.max-parallelism",
        "the number of key groups is fixed; results are the same for any",
    ),
    ("pipeline.name", "a name"),
    (
        "pipeline.object-reuse",
        "how Flink passes rows between its own operators",
    ),
    (
        "table.exec.mini-batch.enabled",
        "changes are always batched, for at most table.exec.mini-batch.allow-latency",
    ),
    (
        "table.exec.mini-batch.size",
        "a batch is what has arrived; the final value of every key is the same",
    ),
    (
        "table.optimizer.distinct-agg.split.enabled",
        "a rewrite with equal results",
    ),
    (
        "table.optimizer.distinct-agg.split.bucket-num",
        "a rewrite with equal results",
    ),
    (
        "table.optimizer.incremental-agg-enabled",
        "a rewrite with equal results",
    ),
    (
        "table.optimizer.reuse-source-enabled",
        "sources are always shared",
    ),
    (
        "table.optimizer.reuse-sub-plan-enabled",
        "a rewrite with equal results",
    ),
    ("table.dml-sync", "the process always runs until its inserts end"),
    ("sql-client.execution.result-mode", "how Flink's shell shows rows"),
];

/// Applies one `SET` to `settings`.
pub fn apply_setting(settings: &mut Settings, option: &SetOption) -> Result<(), SqlError> {
    match option.key.as_str() {
        FLUSH => {
            settings.flush_interval_us = duration(option)?;
            settings.flush_latest_us = settings.flush_interval_us;
        }
        PHASES => settings.two_phase = two_phase(option)?,
        IDLE | IDLE_FLINK => settings.idle_timeout_us = Some(duration(option)?).filter(|us| *us > 0),
        MAX_FUTURE => settings.max_future_us = Some(duration(option)?).filter(|us| *us > 0),
        TIME_ZONE => only(
            option,
            &["UTC", "Etc/UTC", "Z"],
            "timestamps with local time zone are in UTC",
        )?,
        RUNTIME_MODE => only(
            option,
            &["streaming", "STREAMING"],
            "every job is streaming; a bounded input ends by itself",
        )?,
        REPEATS => settings.source_repeats_changes = boolean(option)?,
        LATENESS => settings.allowed_lateness_us = Some(duration(option)?).filter(|us| *us > 0),
        CHECKPOINT_INTERVAL => settings.checkpoint_interval_us = Some(duration(option)?).filter(|us| *us > 0),
        CHECKPOINT_DIRECTORY | CHECKPOINT_DIRECTORY_FLINK => {
            settings.checkpoint_directory = Some(option.value.clone()).filter(|path| !path.is_empty());
        }
        STATE_TTL => settings.state_ttl_us = Some(duration(option)?).filter(|us| *us > 0),
        key if WITHOUT_EFFECT.iter().any(|(known, _)| *known == key) => check_without_effect(option)?,
        key => {
            let known = SETTINGS.iter().map(|(known, _)| *known);
            let names: Vec<&str> = known
                .clone()
                .chain(WITHOUT_EFFECT.iter().map(|(name, _)| *name))
                .collect();
            let hint = match suggest::nearest(key, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("settings are {}", known.collect::<Vec<_>>().join(", ")),
            };
            return Err(SqlError::new(format!("unknown setting '{key}'"))
                .at(option.key_position)
                .hint(hint));
        }
    }
    Ok(())
}

fn wrong_value(option: &SetOption, hint: &str) -> SqlError {
    SqlError::new(format!("'{}' cannot be '{}'", option.key, option.value))
        .at(option.value_position)
        .hint(hint)
}

fn duration(option: &SetOption) -> Result<u64, SqlError> {
    parse_duration_us(&option.value)
        .ok_or_else(|| wrong_value(option, "write a duration such as '500 ms' or '5 min'"))
}

fn boolean(option: &SetOption) -> Result<bool, SqlError> {
    parse_boolean(&option.value).ok_or_else(|| wrong_value(option, "write 'true' or 'false'"))
}

fn two_phase(option: &SetOption) -> Result<bool, SqlError> {
    match option.value.to_ascii_uppercase().as_str() {
        "AUTO" | "TWO_PHASE" => Ok(true),
        "ONE_PHASE" => Ok(false),
        _ => Err(wrong_value(
            option,
            "its values are AUTO, ONE_PHASE and TWO_PHASE",
        )),
    }
}

fn only(option: &SetOption, values: &[&str], reason: &str) -> Result<(), SqlError> {
    if values.contains(&option.value.as_str()) {
        return Ok(());
    }
    Err(wrong_value(
        option,
        &format!("only {} is supported: {reason}", values[0]),
    ))
}

/// A key without effect must still have a value that Flink would take.
fn check_without_effect(option: &SetOption) -> Result<(), SqlError> {
    let value = option.value.as_str();
    let is_number = value.parse::<i64>().is_ok();
    let fits = match option.key.as_str() {
        key if key.ends_with("enabled") || key.ends_with("reuse") || key.ends_with("sync") => {
            parse_boolean(value).is_some()
        }
        key if key.contains("parallelism") || key.ends_with("size") || key.ends_with("num") => is_number,
        _ => true,
    };
    if fits {
        return Ok(());
    }
    Err(wrong_value(
        option,
        "the setting has no effect here; leave it out",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parser::parse;
    use crate::sql::statement::StatementKind;

    /// The settings after `SET key = value`, as text, or the error.
    fn check(assignment: &str, expected: &str) {
        let statements = parse(&format!("SET {assignment}")).unwrap();
        let StatementKind::Set(option) = &statements[0].kind else {
            panic!("a SET");
        };
        let mut settings = Settings::default();
        let text = match apply_setting(&mut settings, option) {
            Ok(()) => format!(
                "{} {} {:?} {:?}",
                settings.flush_interval_us,
                settings.two_phase,
                settings.idle_timeout_us,
                settings.max_future_us
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected, "{assignment}");
    }

    #[test]
    fn settings_that_are_read_take_effect() {
        check(
            "'table.exec.mini-batch.allow-latency' = '2 s'",
            "2000000 true None None",
        );
        check(
            "'table.optimizer.agg-phase-strategy' = 'ONE_PHASE'",
            "1000 false None None",
        );
        check(
            "'scan.watermark.idle-timeout' = '5 s'",
            "1000 true Some(5000000) None",
        );
        check("'table.exec.source.idle-timeout' = '0'", "1000 true None None");
        check(
            "'scan.watermark.max-future' = '1 h'",
            "1000 true None Some(3600000000)",
        );
        check("'table.local-time-zone' = 'UTC'", "1000 true None None");
    }

    #[test]
    fn settings_without_effect_on_results_are_accepted() {
        check("'parallelism.default' = '4'", "1000 true None None");
        check("'table.exec.mini-batch.enabled' = 'true'", "1000 true None None");
        check("'execution.runtime-mode' = 'streaming'", "1000 true None None");
    }

    #[test]
    fn everything_else_is_refused() {
        check(
            "'table.exec.mini-batch.alow-latency' = '2 s'",
            "unknown setting 'table.exec.mini-batch.alow-latency' (line 1, column 5); did you mean `table.exec.mini-batch.allow-latency`?",
        );
        check(
            "'execution.runtime-mode' = 'batch'",
            "'execution.runtime-mode' cannot be 'batch' (line 1, column 32); only streaming is supported: every job is streaming; a bounded input ends by itself",
        );
        check(
            "'table.local-time-zone' = 'Europe/Paris'",
            "'table.local-time-zone' cannot be 'Europe/Paris' (line 1, column 31); only UTC is supported: timestamps with local time zone are in UTC",
        );
        check(
            "'table.optimizer.agg-phase-strategy' = 'BOTH'",
            "'table.optimizer.agg-phase-strategy' cannot be 'BOTH' (line 1, column 44); its values are AUTO, ONE_PHASE and TWO_PHASE",
        );
        check(
            "'parallelism.default' = 'many'",
            "'parallelism.default' cannot be 'many' (line 1, column 29); the setting has no effect here; leave it out",
        );
    }
}
