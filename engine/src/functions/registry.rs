//! Every function by name.
//!
//! **Invariant.** Names are lower case, and looked up without regard to case. Ours win over
//! DataFusion's of the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use datafusion_expr::planner::ExprPlanner;
use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion_functions_nested::planner::{FieldAccessPlanner, NestedFunctionPlanner};
use datafusion_functions_window::planner::WindowFunctionPlanner;

use crate::functions::{
    CLOCK_AND_CHANCE, arrays, average, calendar, convert_tz, date_format, decimal_arithmetic, digests,
    encodings, interval_times, json, json_aggregates, json_construction, json_query, json_value, maps,
    padding, percentile, planner, positional, printf, ranks, regular_expressions, roots, split_index,
    strings, temporal, text, time_arithmetic, time_reading, total, type_of, url,
};

/// DataFusion's functions that speak of DataFusion itself or of Arrow's types.
const FOREIGN: [&str; 13] = [
    "version",
    "arrow_cast",
    "arrow_try_cast",
    "arrow_typeof",
    "arrow_metadata",
    "arrow_field",
    "with_metadata",
    "input_file_name",
    "file_row_index",
    "cast_to_type",
    "try_cast_to_type",
    "union_extract",
    "union_tag",
];

/// (Flink's name, the name of the function that means the same.)
const SYNONYMS: [(&str, &str); 14] = [
    ("ifnull", "coalesce"),
    ("ceiling", "ceil"),
    ("truncate", "trunc"),
    ("sign", "signum"),
    ("regexp_substr", "regexp_extract"),
    ("char_length", "character_length"),
    ("size", "cardinality"),
    ("array_contains", "array_has"),
    ("array_join", "array_to_string"),
    ("ucase", "upper"),
    ("lcase", "lower"),
    ("startswith", "starts_with"),
    ("endswith", "ends_with"),
    ("map_from_arrays", "map"),
];

/// The same for aggregates.
const AGGREGATE_SYNONYMS: [(&str, &str); 4] = [
    ("listagg", "string_agg"),
    ("collect", "array_agg"),
    ("approx_count_distinct", "approx_distinct"),
    ("variance", "var"),
];

/// Every function that queries may call.
#[derive(Debug)]
pub struct Functions {
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    windows: BTreeMap<String, Arc<WindowUDF>>,
    expression_planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Functions {
    /// The one library; built at first use, never changed.
    pub fn library() -> &'static Functions {
        static LIBRARY: LazyLock<Functions> = LazyLock::new(Functions::build);
        &LIBRARY
    }

    fn build() -> Functions {
        let mut functions = Functions {
            scalars: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            windows: BTreeMap::new(),
            expression_planners: expression_planners(),
        };
        functions.add_scalars();
        functions.add_aggregates();
        let theirs = datafusion_functions_window::all_default_window_functions();
        for function in theirs.into_iter().chain(ranks::functions()) {
            for name in names_of(function.name(), function.aliases()) {
                functions.windows.insert(name, function.clone());
            }
        }
        functions
    }

    fn add_scalars(&mut self) {
        let theirs = datafusion_functions::all_default_functions()
            .into_iter()
            .chain(datafusion_functions_nested::all_default_nested_functions());
        for function in theirs {
            for name in names_of(function.name(), function.aliases()) {
                self.scalars.insert(name, function.clone());
            }
        }
        for name in CLOCK_AND_CHANCE.iter().chain(&FOREIGN) {
            self.scalars.remove(*name);
        }
        for function in own_scalars() {
            for name in names_of(function.name(), function.aliases()) {
                self.scalars.insert(name, function.clone());
            }
        }
        for (name, meaning) in SYNONYMS {
            let function = self
                .scalars
                .get(meaning)
                .expect("invariant: synonyms name functions")
                .clone();
            self.scalars.entry(name.to_string()).or_insert(function);
        }
    }

    fn add_aggregates(&mut self) {
        let theirs = datafusion_functions_aggregate::all_default_aggregate_functions();
        for function in theirs
            .into_iter()
            .chain([
                average::average(),
                total::sum(),
                positional::first_value(),
                positional::last_value(),
                percentile::percentile(),
            ])
            .chain(json_aggregates::functions())
        {
            for name in names_of(function.name(), function.aliases()) {
                self.aggregates.insert(name, function.clone());
            }
        }
        for (name, meaning) in AGGREGATE_SYNONYMS {
            let function = self
                .aggregates
                .get(meaning)
                .expect("invariant: synonyms name functions")
                .clone();
            self.aggregates.entry(name.to_string()).or_insert(function);
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

    /// All names, sorted, each once: for "did you mean".
    pub fn names(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self
            .scalars
            .keys()
            .chain(self.aggregates.keys())
            .chain(self.windows.keys())
            .collect();
        names.into_iter().cloned().collect()
    }
}

fn names_of(name: &str, aliases: &[String]) -> Vec<String> {
    std::iter::once(name.to_lowercase())
        .chain(aliases.iter().map(|alias| alias.to_lowercase()))
        .collect()
}

/// Flink's functions that DataFusion lacks or means differently.
fn own_scalars() -> Vec<Arc<ScalarUDF>> {
    [
        arrays::functions(),
        calendar::functions(),
        convert_tz::functions(),
        date_format::functions(),
        decimal_arithmetic::functions(),
        digests::functions(),
        encodings::functions(),
        interval_times::functions(),
        json::functions(),
        json_construction::functions(),
        json_query::functions(),
        json_value::functions(),
        maps::functions(),
        padding::functions(),
        printf::functions(),
        regular_expressions::functions(),
        roots::functions(),
        split_index::functions(),
        strings::functions(),
        temporal::functions(),
        text::functions(),
        time_arithmetic::functions(),
        time_reading::functions(),
        type_of::functions(),
        url::functions(),
    ]
    .concat()
}

/// How syntax that is not a call (`a[1]`, `EXTRACT(… FROM …)`) becomes calls.
fn expression_planners() -> Vec<Arc<dyn ExprPlanner>> {
    vec![
        Arc::new(planner::FlinkExpressions),
        Arc::new(CoreFunctionPlanner::default()),
        Arc::new(NestedFunctionPlanner),
        Arc::new(FieldAccessPlanner),
        Arc::new(AggregateFunctionPlanner),
        Arc::new(WindowFunctionPlanner),
    ]
}
