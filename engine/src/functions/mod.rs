//! Scalar and aggregate functions: DataFusion's, and those of Flink SQL that it lacks or means
//! differently. Names are looked up without regard to case.
//!
//! **Invariant.** Results depend on arguments alone: functions of the clock or of chance are refused.

mod average;
mod date_format;
mod patterns;
mod split_index;
mod synonyms;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion_expr::planner::ExprPlanner;
use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use sqlparser::ast::{Expr, Visit, Visitor};

use crate::error::SqlError;
use crate::sql::position::position_of;

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

/// Every function that queries may call.
pub struct Functions {
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    windows: BTreeMap<String, Arc<WindowUDF>>,
    expression_planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Default for Functions {
    fn default() -> Functions {
        Functions::new()
    }
}

impl Functions {
    /// DataFusion's functions, then ours, which win where names are equal.
    pub fn new() -> Functions {
        let mut scalars = BTreeMap::new();
        let library = datafusion_functions::all_default_functions()
            .into_iter()
            .chain(datafusion_functions_nested::all_default_nested_functions());
        for function in library.chain(own_scalars()) {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str))
            {
                if !CLOCK_AND_CHANCE.contains(&name) {
                    scalars.insert(name.to_string(), function.clone());
                }
            }
        }
        synonyms::add(&mut scalars);
        let mut aggregates = BTreeMap::new();
        let own = std::iter::once(Arc::new(AggregateUDF::from(average::Average::new())));
        for function in datafusion_functions_aggregate::all_default_aggregate_functions()
            .into_iter()
            .chain(own)
        {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str))
            {
                aggregates.insert(name.to_string(), function.clone());
            }
        }
        for (name, meaning) in [("listagg", "string_agg"), ("collect", "array_agg")] {
            if let Some(function) = aggregates.get(meaning).cloned() {
                aggregates.insert(name.to_string(), function);
            }
        }
        let windows = datafusion_functions_window::all_default_window_functions()
            .into_iter()
            .map(|function| (function.name().to_string(), function))
            .collect();
        let expression_planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
            Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
            Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
            Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
            Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner),
        ];
        Functions {
            scalars,
            aggregates,
            windows,
            expression_planners,
        }
    }

    /// The scalar function of that name.
    pub fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(&name.to_lowercase()).cloned()
    }

    /// The aggregate function of that name.
    pub fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(&name.to_lowercase()).cloned()
    }

    /// The window function of that name.
    pub fn window(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.windows.get(&name.to_lowercase()).cloned()
    }

    /// How operators and special syntax become function calls.
    pub fn expression_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expression_planners
    }

    /// Names of the scalar functions, sorted.
    pub fn scalar_names(&self) -> Vec<String> {
        self.scalars.keys().cloned().collect()
    }

    /// Names of the aggregate functions, sorted.
    pub fn aggregate_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    /// Names of the window functions, sorted.
    pub fn window_names(&self) -> Vec<String> {
        self.windows.keys().cloned().collect()
    }

    /// All names: for "did you mean".
    pub fn names(&self) -> Vec<String> {
        [self.scalar_names(), self.aggregate_names(), self.window_names()].concat()
    }
}

/// Flink's functions that DataFusion lacks or means differently.
fn own_scalars() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::from(date_format::DateFormat::new())),
        Arc::new(ScalarUDF::from(patterns::RegexpExtract::new())),
        Arc::new(ScalarUDF::from(split_index::SplitIndex::new())),
    ]
}

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
            if !CLOCK_AND_CHANCE.contains(&name.as_str()) {
                return ControlFlow::Continue(());
            }
            let error = SqlError::new(format!("{}() is not supported yet", name.to_uppercase()))
                .hint("results must not depend on the clock or on chance; use the event-time column")
                .at(position_of(&function.name));
            ControlFlow::Break(error)
        }
    }

    match syntax.visit(&mut Finder) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}
