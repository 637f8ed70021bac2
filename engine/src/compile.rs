//! From a job file to a stream plan: statements in order, queries together.

use std::sync::Arc;

use datafusion_expr::LogicalPlan;

use crate::error::{Position, SqlError};
use crate::plan::builder::{self, SinkQuery};
use crate::plan::explain;
use crate::plan::{Settings, StreamPlan};
use crate::sql::catalog::{Catalog, TableDefinition};
use crate::sql::parser;
use crate::sql::query::QueryPlanner;
use crate::sql::settings;
use crate::sql::statement::{Insert, SetOption, Statement, StatementKind, StreamQuery};

/// A compiled job file.
#[derive(Clone, Debug)]
pub struct Job {
    /// The plan of all queries; without nodes where the file only explains.
    pub plan: Arc<StreamPlan>,
    /// The text that each EXPLAIN statement answers, in order.
    pub explanations: Vec<String>,
}

/// Compiles a job file for any number of shards, or for just `shards`; `overrides` are settings as `SET`
/// would give them, applied last.
pub fn compile(sql: &str, overrides: &[SetOption], shards: Option<usize>) -> Result<Job, SqlError> {
    compile_statements(parser::parse(sql)?, overrides, shards)
}

/// As [`compile`], for statements that were read already, and perhaps changed since: a test gives tables other
/// connectors.
pub fn compile_statements(
    statements: Vec<Statement>,
    overrides: &[SetOption],
    shards: Option<usize>,
) -> Result<Job, SqlError> {
    let mut compiler = Compiler::default();
    compiler.settings.one_shard = shards == Some(1);
    for statement in statements {
        compiler.statement(statement)?;
    }
    for option in overrides {
        settings::apply_setting(&mut compiler.settings, option)?;
    }
    let plan = builder::build(&compiler.queries, &compiler.catalog, compiler.settings)?;
    Ok(Job {
        plan: Arc::new(plan),
        explanations: compiler.explanations,
    })
}

/// The plan of each query of a job file on its own, and where the query stands.
pub fn compile_apart(sql: &str) -> Result<Vec<(StreamPlan, Position)>, SqlError> {
    let mut compiler = Compiler::default();
    for statement in parser::parse(sql)? {
        compiler.statement(statement)?;
    }
    let Compiler {
        catalog,
        settings,
        queries,
        ..
    } = compiler;
    let plan = |query: SinkQuery| {
        let position = query.position;
        Ok((builder::build(&[query], &catalog, settings.clone())?, position))
    };
    queries.into_iter().map(plan).collect()
}

/// What the statements so far have declared and asked for.
#[derive(Default)]
struct Compiler {
    catalog: Catalog,
    settings: Settings,
    queries: Vec<SinkQuery>,
    explanations: Vec<String>,
}

impl Compiler {
    fn statement(&mut self, statement: Statement) -> Result<(), SqlError> {
        let position = statement.position;
        match statement.kind {
            StatementKind::CreateTable(create) => self.catalog.define_table(&create),
            StatementKind::CreateView(create) => self.catalog.define_view(&create),
            StatementKind::CreateAs(create) => {
                let query = self.catalog.define_as(&create)?;
                self.queries.extend(query);
                Ok(())
            }
            StatementKind::Insert(insert) => self.insert(&insert),
            StatementKind::Select(query) => self.select(&query),
            StatementKind::StatementSet(inserts) => inserts.iter().try_for_each(|insert| self.insert(insert)),
            StatementKind::Set(option) => settings::apply_setting(&mut self.settings, &option),
            StatementKind::Explain(explained) => self.explain(*explained),
        }
        .map_err(|error| error.at(position))
    }

    fn insert(&mut self, insert: &Insert) -> Result<(), SqlError> {
        let plan = self.plan(&insert.query)?;
        let (table, fitted) = self.catalog.check_insert(&insert.table, &insert.columns, plan)?;
        self.add_query(&insert.query, fitted, Some(table))
    }

    fn select(&mut self, query: &StreamQuery) -> Result<(), SqlError> {
        let plan = self.plan(query)?;
        self.add_query(query, plan, None)
    }

    /// Adds the query of `plan`, and the one of its late rows.
    fn add_query(
        &mut self,
        query: &StreamQuery,
        plan: LogicalPlan,
        table: Option<Arc<TableDefinition>>,
    ) -> Result<(), SqlError> {
        let query = self.catalog.sink_query(query, plan, table)?;
        self.queries.push(query);
        Ok(())
    }

    fn plan(&self, query: &StreamQuery) -> Result<LogicalPlan, SqlError> {
        QueryPlanner::new(&self.catalog).plan(query)
    }

    /// Plans the explained statement on its own; it does not run.
    fn explain(&mut self, statement: Statement) -> Result<(), SqlError> {
        let mut only = Compiler {
            catalog: self.catalog.clone(),
            settings: self.settings.clone(),
            ..Compiler::default()
        };
        only.statement(statement)?;
        let plan = builder::build(&only.queries, &only.catalog, only.settings)?;
        self.explanations.push(explain::explain(&plan));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
