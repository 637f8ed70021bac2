//! The programs: sources with their rows, one sink with what it consumes, and SQL.

use std::path::Path;

use engine::batch::Op;
use serde_json::Value;

use crate::conformance::values;

/// The cells of a row as text, the way Flink prints them.
pub type Row = Vec<String>;

/// A source table and its rows.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What stands between the parentheses of CREATE TABLE.
    pub columns: String,
    /// What its records may say, if they say more than inserts.
    pub changelog_mode: Option<String>,
    /// Rows before the restart's point.
    pub before: Vec<(Op, Vec<Value>)>,
    /// Rows after it.
    pub after: Vec<(Op, Vec<Value>)>,
}

/// The sink table and what it consumes.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// What stands between the parentheses of CREATE TABLE.
    pub columns: String,
    /// The columns of its primary key.
    pub primary_key: Vec<usize>,
    /// Changes before the restart's point.
    pub before: Vec<(Op, Row)>,
    /// Changes after it.
    pub after: Vec<(Op, Row)>,
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name.
    pub id: String,
    settings: Vec<(String, String)>,
    /// Its sources.
    pub sources: Vec<Source>,
    /// Its sink.
    pub sink: Sink,
    statements: Vec<String>,
}

/// Flink's programs of joins name two sub-queries that stand elsewhere in its sources.
const QUERIES: [(&str, &str); 2] = [
    (
        "(query1)",
        "(SELECT MIN(salary) AS salary, deptno FROM EMPLOYEE GROUP BY deptno)",
    ),
    (
        "(query2)",
        "(SELECT MIN(b2) AS b2, department_num FROM DEPARTMENT GROUP BY department_num)",
    ),
];

impl Program {
    /// All programs of a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it should be.
    pub fn read_all(path: &Path) -> Result<Vec<Program>, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let programs: Vec<Value> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        programs.iter().map(read).collect()
    }

    /// The whole job: settings, tables, statements.
    pub fn sql(&self) -> String {
        let mut sql = String::new();
        for (key, value) in &self.settings {
            sql.push_str(&format!("SET '{key}' = '{value}';\n"));
        }
        for source in &self.sources {
            let mode = source.changelog_mode.as_ref();
            let mode = mode.map_or(String::new(), |mode| format!(", 'changelog-mode' = '{mode}'"));
            let Source { name, columns, .. } = source;
            sql.push_str(&format!(
                "CREATE TABLE {name} ({columns}) WITH ('connector' = 'memory'{mode});\n"
            ));
        }
        let Sink { name, columns, .. } = &self.sink;
        sql.push_str(&format!(
            "CREATE TABLE {name} ({columns}) WITH ('connector' = 'print');\n"
        ));
        for statement in &self.statements {
            let mut statement = statement.trim_end().trim_end_matches(';').to_string();
            for (name, query) in QUERIES {
                statement = statement.replace(name, query);
            }
            sql.push_str(&statement);
            sql.push_str(";\n");
        }
        sql
    }
}

fn read(program: &Value) -> Result<Program, String> {
    let id = text(&program["id"])?;
    let sources = list(&program["sources"])
        .iter()
        .map(source)
        .collect::<Result<_, _>>()?;
    let [sink] = list(&program["sinks"]) else {
        return Err(format!("{id}: one sink is expected"));
    };
    let settings = program["config"].as_object().into_iter().flatten();
    let settings = settings.filter_map(|(key, value)| setting(key, value.as_str().unwrap_or_default()));
    Ok(Program {
        settings: settings.collect(),
        sources,
        sink: read_sink(sink).map_err(|error| format!("{id}: {error}"))?,
        statements: list(&program["sql"]).iter().map(text).collect::<Result<_, _>>()?,
        id,
    })
}

/// The settings that mean something here.
fn setting(key: &str, value: &str) -> Option<(String, String)> {
    let known = match key.rsplit('.').next()? {
        "TABLE_OPTIMIZER_AGG_PHASE_STRATEGY" => "table.optimizer.agg-phase-strategy",
        "TABLE_EXEC_SOURCE_CDC_EVENTS_DUPLICATE" => "table.exec.source.cdc-events-duplicate",
        _ => return None,
    };
    let words = ["ONE_PHASE", "TWO_PHASE"];
    let value = words.into_iter().find(|word| value.contains(word));
    Some((
        known.to_string(),
        value.map_or_else(|| "true".to_string(), str::to_string),
    ))
}

fn source(source: &Value) -> Result<Source, String> {
    let options = source["options"].as_object().into_iter().flatten();
    let mut modes = options.filter(|(key, _)| key.to_lowercase().replace('_', "-") == "changelog-mode");
    Ok(Source {
        name: text(&source["name"])?,
        columns: columns(&source["schema"])?,
        changelog_mode: modes
            .next()
            .and_then(|(_, mode)| mode.as_str())
            .map(str::to_string),
        before: changes(&source["producedBeforeRestore"])?,
        after: [
            changes(&source["producedAfterRestore"])?,
            changes(&source["producedValues"])?,
        ]
        .concat(),
    })
}

fn read_sink(sink: &Value) -> Result<Sink, String> {
    let columns = columns(&sink["schema"])?;
    let types = values::column_types(&columns)?;
    let expected = |name: &str| -> Result<Vec<(Op, Row)>, String> {
        list(&sink[name])
            .iter()
            .map(|row| values::expected_row(row, &types))
            .collect()
    };
    Ok(Sink {
        name: text(&sink["name"])?,
        primary_key: values::primary_key(&columns)?,
        before: expected("consumedBeforeRestore")?,
        after: [expected("consumedAfterRestore")?, expected("consumedValues")?].concat(),
        columns,
    })
}

fn columns(schema: &Value) -> Result<String, String> {
    let columns: Vec<String> = list(schema).iter().map(text).collect::<Result<_, _>>()?;
    Ok(columns.join(", "))
}

fn changes(rows: &Value) -> Result<Vec<(Op, Vec<Value>)>, String> {
    let change = |row: &Value| Ok((values::op(&text(&row["op"])?)?, list(&row["row"]).to_vec()));
    list(rows).iter().map(change).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .map(str::to_string)
        .ok_or_else(|| format!("{value} is not a text"))
}
