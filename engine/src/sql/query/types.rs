//! The types of CAST and literals: the statement layer's, so that DDL and expressions agree.

use arrow::datatypes::FieldRef;
use datafusion_common::Result;
use datafusion_expr::planner::TypePlanner;
use sqlparser::ast::DataType as SqlType;

use crate::sql::query::errors::external;
use crate::sql::query::type_field;
use crate::sql::types::arrow_type;

/// Flink's type names.
#[derive(Debug)]
pub(crate) struct FlinkTypes;

impl TypePlanner for FlinkTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        // INTERVAL literals are DataFusion's own.
        if matches!(sql_type, SqlType::Interval { .. }) {
            return Ok(None);
        }
        let data_type = arrow_type(sql_type).map_err(external)?;
        Ok(Some(type_field(data_type)))
    }
}
