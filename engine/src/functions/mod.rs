//! Scalar and aggregate functions: DataFusion's, and those of Flink SQL that it lacks or means
//! differently.
//!
//! `registry` knows all by name; `native` is the frame that our own scalar functions stand in, one
//! file per family; `average` and `total` are aggregates with Flink's result types,
//! `positional` those that depend on the order of rows.
//!
//! **Invariant.** Results depend on arguments alone: functions of the clock or of chance are refused.

mod arrays;
mod average;
mod calendar;
mod civil;
mod convert_tz;
mod date_format;
mod decimal_arithmetic;
mod digests;
mod encodings;
mod interval_times;
mod json;
mod json_aggregates;
mod json_construction;
mod json_query;
mod json_value;
mod maps;
mod native;
pub(crate) mod not_null;
mod padding;
mod percentile;
mod planner;
pub(crate) mod positional;
mod printf;
mod query_parameter;
mod ranks;
mod registry;
mod regular_expressions;
mod roots;
pub(crate) mod shift_timestamp;
mod split_index;
mod strings;
pub(crate) mod temporal;
pub(crate) mod text;
mod time_arithmetic;
mod time_pattern;
mod time_reading;
mod total;
mod type_of;
mod url;

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, FunctionArguments, Visit, Visitor};

use crate::error::SqlError;
use crate::sql::position::position_of;
use crate::sql::walk::walk;

pub use registry::Functions;

/// What is wrong with the literal `text` as argument `index` of function `name` (in lower case).
pub(crate) fn check_literal(name: &str, index: usize, text: &str) -> Result<(), String> {
    match (name, index) {
        ("regexp_extract" | "regexp_extract_all" | "regexp_substr" | "regexp" | "regexp_replace", 1) => {
            regular_expressions::check_pattern(text)
        }
        ("date_format" | "to_timestamp" | "to_date" | "unix_timestamp" | "from_unixtime", 1) => {
            time_pattern::TimePattern::read(text).map(|_| ()).map_err(plain)
        }
        ("convert_tz", 1 | 2) => convert_tz::check_zone(text),
        (
            "json_value" | "json_value_of" | "json_query" | "json_query_of" | "json_exists"
            | "json_exists_of",
            1,
        ) => json::check_path(text).map_err(plain),
        _ => Ok(()),
    }
}

fn plain(error: datafusion_common::DataFusionError) -> String {
    match error {
        datafusion_common::DataFusionError::Execution(message) => message,
        other => other.strip_backtrace(),
    }
}

/// Functions whose answer would depend on when, or how often, a job runs.
const CLOCK_AND_CHANCE: [&str; 14] = [
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "current_row_timestamp",
    "proctime",
    "current_watermark",
    "today",
    "random",
    "rand",
    "rand_integer",
    "uuid",
];

/// Refuses functions of the clock and of chance, at their place.
pub(crate) fn refuse_clock_and_chance(syntax: &impl Visit) -> Result<(), SqlError> {
    struct Finder;

    impl Visitor for Finder {
        type Break = SqlError;

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<SqlError> {
            let Expr::Function(function) = expression else {
                return ControlFlow::Continue(());
            };
            let name = function.name.to_string().to_lowercase();
            let without_arguments = match &function.args {
                FunctionArguments::List(list) => list.args.is_empty(),
                FunctionArguments::None | FunctionArguments::Subquery(_) => true,
            };
            let reads_clock = name == "unix_timestamp" && without_arguments;
            if !reads_clock && !CLOCK_AND_CHANCE.contains(&name.as_str()) {
                return ControlFlow::Continue(());
            }
            let error = SqlError::new(format!(
                "{} is not supported yet: results must not depend on the clock or on chance",
                name.to_uppercase()
            ))
            .hint("use the event time of the row, the column named in WATERMARK FOR")
            .at(position_of(&function.name));
            ControlFlow::Break(error)
        }
    }

    match walk(syntax, &mut Finder) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
