//! The optimizer rules that streams can run: an allow-list.
//!
//! A rule is in when it keeps what a stream needs (event time, one aggregate per aggregation, no
//! LIMIT tricks); each rule that is left out says why. A test compares both lists with what this
//! version of DataFusion brings, so that an upgrade cannot slip a rule in.

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion_optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion_optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion_optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerContext, OptimizerRule};

/// Runs the hand-picked rules.
pub(crate) fn optimize(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut options = ConfigOptions::new();
    // A scalar sub-query is a join here: no operator can hold a query inside an expression.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    let context =
        OptimizerContext::new_with_config_options(Arc::new(options)).without_query_execution_start_time();
    Optimizer::with_rules(rules()).optimize(plan, &context, |_, _| {})
}

/// `WHERE TRUE` goes; `WHERE FALSE` stays, and its query still runs to the end of its input.
#[derive(Debug)]
struct DropTrueFilter;

impl OptimizerRule for DropTrueFilter {
    fn name(&self) -> &str {
        "drop_true_filter"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter)
                if matches!(
                    filter.predicate,
                    Expr::Literal(ScalarValue::Boolean(Some(true)), _)
                ) =>
            {
                Ok(Transformed::yes(Arc::unwrap_or_clone(filter.input)))
            }
            plan => Ok(Transformed::no(plan)),
        }
    }
}

/// The rules, in the order in which they run.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(DropTrueFilter),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Rules that DataFusion does not have.
    const OURS: [&str; 1] = ["drop_true_filter"];

    /// Rules that are left out, and why.
    const LEFT_OUT: [(&str, &str); 16] = [
        (
            "eliminate_filter",
            "makes an empty relation of WHERE FALSE, which a stream cannot start from",
        ),
        ("rewrite_set_comparison", "ANY and ALL are refused"),
        (
            "optimize_unions",
            "unions are few, and their inputs must keep their place",
        ),
        (
            "unions_to_filter",
            "would merge branches that DISTINCT separates, for no gain on a shared scan",
        ),
        (
            "replace_distinct_aggregate",
            "DISTINCT is lowered by the stream plan",
        ),
        (
            "eliminate_join",
            "would turn a join into an empty relation, which a stream cannot start from",
        ),
        (
            "eliminate_duplicated_expr",
            "ORDER BY is lowered as it is written",
        ),
        (
            "eliminate_limit",
            "LIMIT is lowered by the stream plan, LIMIT 0 refused",
        ),
        (
            "propagate_empty_relation",
            "a stream has no empty relation to start from",
        ),
        ("filter_null_join_keys", "the join skips NULL keys itself"),
        ("eliminate_outer_join", "outer joins are refused"),
        (
            "push_down_limit",
            "a scan is shared by all readers, of which only one has the limit",
        ),
        (
            "single_distinct_aggregation_to_group_by",
            "nests aggregates, which costs a stream a changelog",
        ),
        (
            "eliminate_group_by_constant",
            "would change the key that rows are partitioned by",
        ),
        (
            "extract_leaf_expressions",
            "moves expressions into scans that do not evaluate them",
        ),
        (
            "push_down_leaf_projections",
            "belongs to extract_leaf_expressions",
        ),
    ];

    #[test]
    fn every_rule_of_this_datafusion_is_classified() {
        let known: BTreeSet<String> = rules()
            .iter()
            .map(|rule| rule.name().to_string())
            .filter(|name| !OURS.contains(&name.as_str()))
            .chain(LEFT_OUT.iter().map(|(name, _)| name.to_string()))
            .collect();
        let brought: BTreeSet<String> = Optimizer::new()
            .rules
            .iter()
            .map(|rule| rule.name().to_string())
            .collect();
        assert_eq!(brought, known);
    }
}
