//! What DataFusion's SQL planner asks of us: tables, functions, extension planners.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableProviderFilterPushDown, TableSource,
    WindowUDF,
};

use crate::error::SqlError;
use crate::functions::Functions;
use crate::sql::catalog::{Catalog, TableDefinition, ViewDefinition};
use crate::sql::query::errors::external;
use crate::sql::query::match_recognize::MatchPlanner;
use crate::sql::query::relations::WindowPlanner;
use crate::sql::query::types::FlinkTypes;
use crate::sql::query::unnest::UnnestPlanner;
use crate::sql::suggest;

/// A catalog as DataFusion's planner sees it.
pub(crate) struct CatalogContext<'a> {
    catalog: &'a Catalog,
    functions: &'static Functions,
    options: ConfigOptions,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
}

impl<'a> CatalogContext<'a> {
    pub(crate) fn new(catalog: &'a Catalog) -> CatalogContext<'a> {
        CatalogContext {
            catalog,
            functions: Functions::library(),
            options: ConfigOptions::default(),
            relation_planners: vec![
                Arc::new(WindowPlanner),
                Arc::new(UnnestPlanner),
                Arc::new(MatchPlanner),
            ],
        }
    }
}

impl ContextProvider for CatalogContext<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if let Some(table) = self.catalog.tables.get(name.table()) {
            return Ok(Arc::new(TableRelation(table.clone())));
        }
        if let Some(view) = self.catalog.views.get(name.table()) {
            return Ok(Arc::new(ViewRelation(view.clone())));
        }
        let error = SqlError::new(format!("table `{}` not found", name.table())).hint(suggest::hint(
            name.table(),
            self.catalog.names(),
            "tables and views so far:",
        ));
        Err(external(error))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.functions.expression_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(FlinkTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar(name)
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window(name)
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar_names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate_names()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window_names()
    }
}

/// A table: columns now, rows at run time.
#[derive(Debug)]
struct TableRelation(Arc<TableDefinition>);

impl TableSource for TableRelation {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    /// The source evaluates every filter itself.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }
}

/// A view: its plan stands wherever it is read.
#[derive(Debug)]
struct ViewRelation(Arc<ViewDefinition>);

impl TableSource for ViewRelation {
    fn schema(&self) -> SchemaRef {
        Arc::new(self.0.plan.schema().as_arrow().clone())
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(self.0.plan.as_ref()))
    }
}

/// The watermark column of the table behind `source`.
pub(crate) fn watermark_column(source: &dyn TableSource) -> Option<usize> {
    let table = (source as &dyn std::any::Any).downcast_ref::<TableRelation>()?;
    table.0.watermark.as_ref().map(|watermark| watermark.column)
}
