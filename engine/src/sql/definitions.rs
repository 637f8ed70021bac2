//! Declarations resolved into the catalog: CREATE TABLE, CREATE VIEW, CREATE STREAM … AS.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion_expr::{LogicalPlan, LogicalPlanBuilder};

use crate::error::{Position, SqlError};
use crate::plan::builder::SinkQuery;
use crate::plan::explain::sql_type;
use crate::sql::catalog::{
    Catalog, PROCESSING_TIME, SourceChanges, TableColumn, TableColumnKind, TableDefinition, TableWatermark,
    ViewDefinition,
};
use crate::sql::hints;
use crate::sql::options::validate_options;
use crate::sql::query::QueryPlanner;
use crate::sql::statement::{
    ColumnKind, CreateAs, CreateTable, CreateView, Name, StreamQuery, TableOption, WatermarkDefinition,
};
use crate::sql::suggest;

impl Catalog {
    /// Declares a table.
    pub fn define_table(&mut self, create: &CreateTable) -> Result<(), SqlError> {
        if create.if_not_exists && self.contains(&create.name.value) {
            return Ok(());
        }
        self.check_new(&create.name)?;
        validate_options(&create.options)?;
        let columns = self.resolve_columns(create)?;
        let schema = Schema::new(
            columns
                .iter()
                .map(|column| column.field.clone())
                .collect::<Vec<_>>(),
        );
        let watermark = match &create.watermark {
            Some(watermark) => Some(self.resolve_watermark(watermark, &schema)?),
            None => None,
        };
        let primary_key = create
            .primary_key
            .iter()
            .map(|name| column_named(&schema, name).map_err(|error| error.at(name.position)))
            .collect::<Result<_, _>>()?;
        let name = create.name.value.clone();
        let options = create.options.clone();
        let table = TableDefinition {
            name: name.clone(),
            position: create.name.position,
            columns,
            watermark,
            primary_key,
            options,
            rows: None,
        };
        if table.source_changes() == SourceChanges::Upsert && table.primary_key.is_empty() {
            return Err(SqlError::new(format!(
                "`{name}` replaces rows by their key and has no PRIMARY KEY"
            ))
            .hint("declare PRIMARY KEY (…) NOT ENFORCED")
            .at(create.name.position));
        }
        self.tables.insert(name, Arc::new(table));
        Ok(())
    }

    /// Declares a view; its query is planned now, so that its errors stand at their place.
    pub fn define_view(&mut self, create: &CreateView) -> Result<(), SqlError> {
        if create.if_not_exists && self.contains(&create.name.value) {
            return Ok(());
        }
        self.check_new(&create.name)?;
        hints::refuse_in_view(&create.query.query)?;
        let plan = QueryPlanner::new(self).plan(&create.query)?;
        let plan = rename_columns(plan, &create.columns, &create.name)?;
        self.add_view(&create.name, &create.query, plan);
        Ok(())
    }

    /// Declares a stream: a name for its query and, with a connector, a table that it fills.
    pub fn define_as(&mut self, create: &CreateAs) -> Result<Option<SinkQuery>, SqlError> {
        self.check_new(&create.name)?;
        if let Some(late) = &create.query.late {
            return Err(
                SqlError::new("LATE DATA TO stands behind INSERT INTO or a bare query")
                    .hint("declare the table, and write INSERT INTO … SELECT … LATE DATA TO …")
                    .at(late.position),
            );
        }
        let plan = QueryPlanner::new(self).plan(&create.query)?;
        self.add_view(&create.name, &create.query, plan.clone());
        if create.options.is_empty() {
            hints::refuse_in_view(&create.query.query)?;
            return Ok(None);
        }
        validate_options(&create.options)?;
        let table = Arc::new(table_of(&create.name, &plan, &create.options));
        self.sink_query(&create.query, plan, Some(table)).map(Some)
    }

    /// The query of `plan` as the builder takes it, with that of its late rows.
    pub(crate) fn sink_query(
        &self,
        query: &StreamQuery,
        plan: LogicalPlan,
        table: Option<Arc<TableDefinition>>,
    ) -> Result<SinkQuery, SqlError> {
        let state_ttl = hints::state_ttl(&query.query)?;
        let late = match &query.late {
            Some(late) => {
                let mut found = self.late_query(late, &plan, &state_ttl)?;
                found.places = query.places.clone();
                Some(Box::new(found))
            }
            None => None,
        };
        Ok(SinkQuery {
            plan,
            emit: query.emit,
            timeout_us: query.timeout_us,
            state_ttl,
            table,
            late,
            position: query.position,
            places: query.places.clone(),
        })
    }

    fn contains(&self, name: &str) -> bool {
        self.tables.contains_key(name) || self.views.contains_key(name)
    }

    /// The position of an earlier declaration of that name is an error at this one.
    fn check_new(&self, name: &Name) -> Result<(), SqlError> {
        let table = self
            .tables
            .get(&name.value)
            .map(|table| ("table", table.position));
        let view = self.views.get(&name.value).map(|view| ("view", view.position));
        match table.or(view) {
            None => Ok(()),
            Some((kind, Position { line, column, .. })) => {
                Err(SqlError::new(format!("`{}` is declared twice", name.value))
                    .hint(format!(
                        "the first {kind} of that name stands at line {line}, column {column}"
                    ))
                    .at(name.position))
            }
        }
    }

    fn add_view(&mut self, name: &Name, query: &StreamQuery, plan: LogicalPlan) {
        let view = ViewDefinition {
            name: name.value.clone(),
            position: name.position,
            query: query.clone(),
            plan: Arc::new(plan),
        };
        self.views.insert(name.value.clone(), Arc::new(view));
    }

    fn resolve_columns(&self, create: &CreateTable) -> Result<Vec<TableColumn>, SqlError> {
        let mut seen: HashMap<&str, Position> = HashMap::new();
        for column in &create.columns {
            if let Some(first) = seen.insert(&column.name.value, column.name.position) {
                return Err(
                    SqlError::new(format!("column `{}` is declared twice", column.name.value))
                        .hint(format!(
                            "it first stands at line {}, column {}",
                            first.line, first.column
                        ))
                        .at(column.name.position),
                );
            }
        }
        let ingest: Vec<Field> = create
            .columns
            .iter()
            .filter_map(|column| match &column.kind {
                ColumnKind::Physical { data_type, nullable } => {
                    Some(Field::new(&column.name.value, data_type.clone(), *nullable))
                }
                ColumnKind::Metadata { data_type, .. } => {
                    Some(Field::new(&column.name.value, data_type.clone(), true))
                }
                ColumnKind::Computed(_) => None,
            })
            .collect();
        let ingest = Schema::new(ingest);
        let mut columns = Vec::with_capacity(create.columns.len());
        for column in &create.columns {
            let name = &column.name.value;
            let (field, kind) = match &column.kind {
                ColumnKind::Physical { data_type, nullable } => (
                    Field::new(name, data_type.clone(), *nullable),
                    TableColumnKind::Physical,
                ),
                ColumnKind::Metadata {
                    data_type,
                    key,
                    is_virtual,
                } => (
                    Field::new(name, data_type.clone(), true),
                    TableColumnKind::Metadata {
                        key: key.clone(),
                        is_virtual: *is_virtual,
                    },
                ),
                ColumnKind::Computed(_) if column.kind.is_processing_time() => {
                    let marker = HashMap::from([(PROCESSING_TIME.to_string(), String::new())]);
                    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
                    (
                        Field::new(name, time, false).with_metadata(marker),
                        TableColumnKind::ProcessingTime,
                    )
                }
                ColumnKind::Computed(expression) => {
                    let (physical, field) = QueryPlanner::new(self)
                        .physical_expression(expression, &ingest)
                        .map_err(|error| error.at(column.name.position))?;
                    (
                        Field::new(name, field.data_type().clone(), true),
                        TableColumnKind::Computed(physical),
                    )
                }
            };
            columns.push(TableColumn {
                field: Arc::new(field),
                kind,
            });
        }
        Ok(columns)
    }

    fn resolve_watermark(
        &self,
        watermark: &WatermarkDefinition,
        schema: &Schema,
    ) -> Result<TableWatermark, SqlError> {
        let position = watermark.column.position;
        let column = column_named(schema, &watermark.column).map_err(|error| error.at(position))?;
        let data_type = schema.field(column).data_type();
        let fine = matches!(
            data_type,
            DataType::Timestamp(
                TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond,
                _
            )
        );
        if !fine {
            return Err(SqlError::new(format!(
                "a watermark needs a time column, and `{}` is {}",
                watermark.column.value,
                sql_type(data_type)
            ))
            .hint(
                "use TIMESTAMP(p) or TIMESTAMP_LTZ(p) with p up to 6, or compute such a column from this one",
            )
            .at(position));
        }
        let (expression, field) = QueryPlanner::new(self)
            .physical_expression(&watermark.expression, schema)
            .map_err(|error| error.at(position))?;
        if !matches!(field.data_type(), DataType::Timestamp(..)) {
            return Err(SqlError::new(format!(
                "the watermark of `{}` must be a timestamp, and this expression is {}",
                watermark.column.value,
                sql_type(field.data_type())
            ))
            .hint(format!(
                "write `{0}` or `{0}` - INTERVAL '5' SECOND",
                watermark.column.value
            ))
            .at(position));
        }
        Ok(TableWatermark {
            column,
            expression,
            position,
        })
    }
}

fn column_named(schema: &Schema, name: &Name) -> Result<usize, SqlError> {
    schema.index_of(&name.value).map_err(|_| {
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        SqlError::new(format!("column `{}` not found", name.value)).hint(suggest::hint(
            &name.value,
            names,
            "columns:",
        ))
    })
}

fn rename_columns(plan: LogicalPlan, columns: &[Name], view: &Name) -> Result<LogicalPlan, SqlError> {
    if columns.is_empty() {
        return Ok(plan);
    }
    let found = plan.schema().fields().len();
    if columns.len() != found {
        return Err(SqlError::new(format!(
            "view `{}` names {} columns, and its query gives {found}",
            view.value,
            columns.len()
        ))
        .at(columns[0].position));
    }
    let renamed: Vec<_> = plan
        .schema()
        .columns()
        .into_iter()
        .zip(columns)
        .map(|(column, name)| datafusion_expr::Expr::Column(column).alias(&name.value))
        .collect();
    LogicalPlanBuilder::from(plan)
        .project(renamed)
        .and_then(|builder| builder.build())
        .map_err(|error| SqlError::new(error.strip_backtrace().to_string()))
}

/// A table with the columns of `plan`.
fn table_of(name: &Name, plan: &LogicalPlan, options: &[TableOption]) -> TableDefinition {
    let columns = plan
        .schema()
        .fields()
        .iter()
        .map(|field| TableColumn {
            field: field.clone(),
            kind: TableColumnKind::Physical,
        })
        .collect();
    TableDefinition {
        name: name.value.clone(),
        position: name.position,
        columns,
        watermark: None,
        primary_key: Vec::new(),
        options: options.to_vec(),
        rows: None,
    }
}
