//! The partitioner selector: for each keyed operator, whether its rows must change shard, and why.
//!
//! Four answers: stay on the source's shard, hash by key, local-global (two phases), or already
//! co-partitioned. EXPLAIN prints the reason beside the exchange.

use crate::plan::Distribution;

/// What the selector decided for one keyed operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// Rows with equal keys already meet on one shard; no exchange.
    CoPartitioned(String),
    /// Each shard aggregates its own rows first; only partial results travel.
    LocalGlobal(String),
    /// Every row travels to the shard that owns its key.
    HashByKey(String),
}

/// What the selector looks at.
#[derive(Clone, Debug)]
pub struct KeyedOperator<'a> {
    /// The operator's name in messages.
    pub name: &'a str,
    /// Names of its key columns.
    pub key_names: &'a [String],
    /// Its key columns, as columns of the input.
    pub keys: &'a [usize],
    /// How the input lies over the shards.
    pub input: &'a Distribution,
    /// `Err` says why the operator cannot work in two phases.
    pub two_phase: Result<(), String>,
}

/// Chooses the partitioning of one keyed operator.
pub fn select(operator: &KeyedOperator<'_>) -> Partitioning {
    let keys = key_list(operator.key_names);
    match operator.input {
        Distribution::Single => {
            return Partitioning::CoPartitioned("all rows are already on shard 0".to_string());
        }
        // Equal operator keys imply equal hash keys when the hash keys are among them.
        Distribution::Hash(hashed)
            if !hashed.is_empty() && hashed.iter().all(|column| operator.keys.contains(column)) =>
        {
            return Partitioning::CoPartitioned(format!("rows with equal {keys} already share a shard"));
        }
        _ => {}
    }
    match &operator.two_phase {
        Ok(()) => Partitioning::LocalGlobal(format!(
            "{} combines partial results, so each shard aggregates its own rows first and only one row per {keys} \
             and flush travels; the local phase steps aside where keys hardly repeat",
            operator.name
        )),
        Err(why) => Partitioning::HashByKey(format!(
            "{} needs all rows of {keys} on one shard: {why}",
            operator.name
        )),
    }
}

/// `(a, b)`, or what stands for no key at all.
fn key_list(names: &[String]) -> String {
    match names {
        [] => "the one global group".to_string(),
        [name] => format!("`{name}`"),
        names => format!("({})", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: Distribution, keys: &[usize], two_phase: Result<(), String>) -> Partitioning {
        let key_names: Vec<String> = keys.iter().map(|key| format!("k{key}")).collect();
        select(&KeyedOperator {
            name: "SUM",
            key_names: &key_names,
            keys,
            input: &input,
            two_phase,
        })
    }

    #[test]
    fn rows_hashed_by_a_subset_of_the_keys_stay_where_they_are() {
        let chosen = check(Distribution::Hash(vec![1]), &[0, 1], Ok(()));
        assert!(matches!(chosen, Partitioning::CoPartitioned(_)));
    }

    #[test]
    fn rows_hashed_by_another_column_travel() {
        let chosen = check(Distribution::Hash(vec![2]), &[0, 1], Ok(()));
        assert!(matches!(chosen, Partitioning::LocalGlobal(_)));
    }

    #[test]
    fn an_operator_without_partial_results_hashes_its_rows() {
        let chosen = check(
            Distribution::Source,
            &[0],
            Err("COUNT(DISTINCT) keeps a set".to_string()),
        );
        assert!(matches!(chosen, Partitioning::HashByKey(reason) if reason.contains("COUNT(DISTINCT)")));
    }

    #[test]
    fn rows_on_one_shard_need_no_exchange() {
        assert!(matches!(
            check(Distribution::Single, &[], Ok(())),
            Partitioning::CoPartitioned(_)
        ));
    }
}
