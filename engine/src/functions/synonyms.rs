//! Flink's names for functions that DataFusion has under another name.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_expr::ScalarUDF;

/// (Flink's name, DataFusion's name).
const SYNONYMS: [(&str, &str); 4] = [
    ("ifnull", "coalesce"),
    ("regexp", "regexp_like"),
    ("ceiling", "ceil"),
    ("truncate", "trunc"),
];

/// Adds the synonyms whose meaning is the same.
pub(super) fn add(scalars: &mut BTreeMap<String, Arc<ScalarUDF>>) {
    for (name, meaning) in SYNONYMS {
        if let Some(function) = scalars.get(meaning).cloned() {
            scalars.entry(name.to_string()).or_insert(function);
        }
    }
}
