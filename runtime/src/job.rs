//! The seam to the engine's front end: SQL text in, a compiled job out.

use std::io::Read;
use std::path::Path;

use engine::compile::compile;
use engine::error::{Position, SqlError};
use engine::plan::{NodeKind, PlanNode, explain};
use engine::sql::statement::SetOption;

pub use engine::compile::Job;

/// The name under which text given by `--execute` appears in messages.
const EXECUTE_NAME: &str = "<command line>";
/// The name under which text from standard input appears in messages.
const STDIN_NAME: &str = "<stdin>";

/// SQL text and the name under which messages speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobText {
    /// A path, or what stands for one.
    pub name: String,
    /// The text.
    pub sql: String,
}

/// How many queries a job runs.
pub fn queries(job: &Job) -> usize {
    let is_sink = |node: &&PlanNode| matches!(node.kind, NodeKind::Sink(_));
    job.plan.nodes.iter().filter(is_sink).count()
}

/// Whether a query's rows go to standard output.
pub fn prints(job: &Job) -> bool {
    job.plan.nodes.iter().any(|node| match &node.kind {
        NodeKind::Sink(sink) => sink
            .table
            .as_ref()
            .is_none_or(|table| ["stdout", "print"].contains(&table.connector())),
        _ => false,
    })
}

/// What EXPLAIN tells: of the statements that asked, then of the queries that would run.
pub fn explain(job: &Job) -> String {
    let mut parts = job.explanations.clone();
    if !job.plan.nodes.is_empty() {
        parts.push(explain::explain(&job.plan));
    }
    parts.join("\n")
}

impl JobText {
    /// Text given on the command line.
    pub fn from_argument(sql: &str) -> JobText {
        JobText {
            name: EXECUTE_NAME.into(),
            sql: sql.into(),
        }
    }

    /// The text of a file, or of standard input for `-`.
    ///
    /// # Errors
    /// The file is missing, unreadable or not UTF-8: a message without the word "error".
    pub fn read(path: &Path) -> Result<JobText, String> {
        let (name, bytes) = if path == Path::new("-") {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes);
            (STDIN_NAME.to_owned(), read)
        } else {
            (path.display().to_string(), std::fs::read(path))
        };
        let bytes = bytes.map_err(|error| format!("cannot read {name}: {error}"))?;
        let sql = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.iter().filter(|&&byte| byte == b'\n').count() + 1;
            format!("{name}, line {line}: the text is not UTF-8; save the file as UTF-8")
        })?;
        Ok(JobText { name, sql })
    }

    /// Compiles the text for any number of shards, or for just `shards`; `overrides` are `--set` options,
    /// applied after the text's own `SET`s.
    ///
    /// # Errors
    /// What the SQL front end refuses.
    pub fn compile(&self, overrides: &[SetOption], shards: Option<usize>) -> Result<Job, SqlError> {
        compile(&self.sql, overrides, shards)
    }

    /// The error as a terminal shows it.
    pub fn render(&self, error: &SqlError) -> String {
        error.render(&self.name, &self.sql)
    }
}

/// `key=value` of `--set` as an option that has no place in the text.
///
/// # Errors
/// There is no `=`, or no key.
pub fn parse_override(argument: &str) -> Result<SetOption, String> {
    match argument.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok(SetOption {
            key: key.trim().to_owned(),
            key_position: Position::default(),
            value: value.trim().to_owned(),
            value_position: Position::default(),
        }),
        _ => Err("write --set key=value".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_is_a_key_and_a_value() {
        let option = parse_override("table.optimizer.agg-phase-strategy = ONE_PHASE").expect("parsed");
        assert_eq!(
            (option.key.as_str(), option.value.as_str()),
            ("table.optimizer.agg-phase-strategy", "ONE_PHASE")
        );
        assert!(parse_override("novalue").is_err());
        assert!(parse_override("=1").is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = JobText::read(Path::new("/nowhere/job.sql")).expect_err("missing");
        assert!(error.starts_with("cannot read /nowhere/job.sql: "), "{error}");
    }

    #[test]
    fn text_that_is_not_utf8_is_told_by_line() {
        let path = std::env::temp_dir().join(format!("velocore-latin1-{}.sql", std::process::id()));
        std::fs::write(&path, b"SELECT 1;\n-- caf\xe9\n").expect("written");
        let error = JobText::read(&path).expect_err("latin-1");
        assert!(error.contains("line 2: the text is not UTF-8"), "{error}");
        std::fs::remove_file(path).expect("removed");
    }
}
