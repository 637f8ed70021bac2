//! The queries that are simulated, over one table, and their compiled plans.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::compile::compile;
use engine::plan::StreamPlan;

/// What must hold of the output when a job is stopped early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The folded output is the batch answer over the rows that were consumed (promise P2).
    AnswerOverConsumed,
    /// Only complete results were written: each is one of the full run's, none twice.
    PartOfFullAnswer,
}

/// A query and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// Its name in traces.
    pub name: &'static str,
    /// Its text, without the table.
    pub sql: &'static str,
    /// What an early stop may leave.
    pub stopped: Stopped,
}

const TABLE: &str = "
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'memory');
";

/// All simulated queries.
pub const QUERIES: &[Query] = &[
    Query {
        name: "filter",
        sql: "SELECT ts, symbol, price * quantity AS amount FROM trades WHERE quantity > 4",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "group_by",
        sql: "SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS volume, MIN(price) AS low, AVG(quantity) AS mean \
              FROM trades GROUP BY symbol",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "group_by_every_row",
        sql: "SELECT symbol, COUNT(*) AS trades, MAX(price) AS high FROM trades GROUP BY symbol EMIT CHANGES EVERY ROW",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "having_over_group_by",
        sql: "SELECT trades, COUNT(*) AS symbols, MAX(volume) AS most FROM \
              (SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS volume FROM trades GROUP BY symbol) AS per_symbol \
              GROUP BY trades HAVING MAX(volume) > 20",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "distinct",
        sql: "SELECT DISTINCT symbol, quantity > 8 AS large FROM trades",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "global_aggregate",
        sql: "SELECT COUNT(*) AS trades, SUM(quantity) AS volume, MAX(symbol) AS last_symbol, \
              COUNT(DISTINCT symbol) AS symbols FROM trades",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "union_all",
        sql: "SELECT ts, symbol, quantity AS amount FROM trades WHERE quantity > 9 UNION ALL \
              SELECT ts, symbol, -quantity AS amount FROM trades WHERE quantity < 5",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "group_by_final",
        sql: "SELECT symbol, COUNT(*) AS trades, MAX(price) AS high FROM trades GROUP BY symbol EMIT FINAL",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "tumble",
        sql: "SELECT symbol, window_start, window_end, COUNT(*) AS trades, COUNT(price) AS priced, MAX(price) AS high, \
              SUM(quantity) FILTER (WHERE price > 10) AS volume, COUNT(DISTINCT quantity) AS sizes \
              FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
              GROUP BY symbol, window_start, window_end",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "hop",
        sql: "SELECT symbol, window_start, window_end, SUM(quantity) AS volume, AVG(quantity) AS mean, MIN(price) AS low \
              FROM TABLE(HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '14' SECOND)) \
              GROUP BY symbol, window_start, window_end",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "cumulate",
        sql: "SELECT window_start, window_end, COUNT(*) AS trades, SUM(quantity) AS volume \
              FROM TABLE(CUMULATE(TABLE trades, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) \
              GROUP BY window_start, window_end",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "cascaded_windows",
        sql: "SELECT window_end, MAX(volume) AS most, COUNT(*) AS symbols FROM (\
              SELECT symbol, window_start, window_end, SUM(quantity) AS volume \
              FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
              GROUP BY symbol, window_start, window_end) AS per_symbol GROUP BY window_start, window_end",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "over_rows",
        sql: "SELECT ts, symbol, SUM(quantity) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) \
              AS last_three FROM trades",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "over_range",
        sql: "SELECT ts, symbol, COUNT(*) OVER (PARTITION BY symbol ORDER BY ts \
              RANGE BETWEEN INTERVAL '7' SECOND PRECEDING AND CURRENT ROW) AS recent FROM trades",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "window_join",
        sql: "SELECT A.symbol, A.trades, A.window_start, A.window_end FROM (\
              SELECT symbol, COUNT(*) AS trades, window_start, window_end \
              FROM TABLE(HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)) \
              GROUP BY symbol, window_start, window_end) AS A \
              JOIN (SELECT MAX(trades) AS most, window_start, window_end FROM (\
              SELECT symbol, COUNT(*) AS trades, window_start, window_end \
              FROM TABLE(HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)) \
              GROUP BY symbol, window_start, window_end) AS B GROUP BY window_start, window_end) AS C \
              ON A.window_start = C.window_start AND A.window_end = C.window_end AND A.trades >= C.most",
        stopped: Stopped::PartOfFullAnswer,
    },
];

/// Queries that are simulated with crashes, beside all others: every operator that keeps something.
pub const RESTORED: &[Query] = &[
    Query {
        name: "extremes_under_retraction",
        sql: "SELECT trades, MIN(symbol) AS least, MAX(low) AS most FROM \
              (SELECT symbol, COUNT(*) AS trades, MIN(price) AS low FROM trades GROUP BY symbol) AS per_symbol \
              GROUP BY trades",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "rare_aggregate",
        sql: "SELECT symbol, MEDIAN(quantity) AS middle FROM trades GROUP BY symbol",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "long_hop",
        sql: "SELECT symbol, window_start, window_end, COUNT(*) AS trades, SUM(quantity) AS volume \
              FROM TABLE(HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '20' SECOND)) \
              GROUP BY symbol, window_start, window_end",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "early_windows",
        sql: "SELECT symbol, window_start, window_end, COUNT(*) AS trades, MAX(price) AS high \
              FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
              GROUP BY symbol, window_start, window_end EMIT CHANGES",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "sessions",
        sql: "SELECT symbol, window_start, window_end, COUNT(*) AS trades \
              FROM TABLE(SESSION(TABLE trades PARTITION BY symbol, DESCRIPTOR(ts), INTERVAL '3' SECOND)) \
              GROUP BY symbol, window_start, window_end",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "over_unbounded",
        sql: "SELECT ts, symbol, SUM(price) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND \
              CURRENT ROW) AS total FROM trades",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "over_texts",
        sql: "SELECT ts, quantity, MAX(symbol) OVER (PARTITION BY quantity ORDER BY ts ROWS BETWEEN 4 PRECEDING AND \
              CURRENT ROW) AS last_symbol FROM trades",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "left_join",
        sql: "SELECT A.ts, A.symbol, B.high FROM trades AS A LEFT JOIN \
              (SELECT quantity, MAX(price) AS high FROM trades WHERE quantity > 7 GROUP BY quantity) AS B \
              ON A.quantity = B.quantity",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "interval_join",
        sql: "SELECT A.ts, A.symbol, B.ts AS earlier FROM trades AS A LEFT JOIN trades AS B ON A.symbol = B.symbol \
              AND A.quantity = B.quantity + 1 AND B.ts BETWEEN A.ts - INTERVAL '6' SECOND AND A.ts",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "top_three",
        sql: "SELECT symbol, ts, quantity FROM (SELECT symbol, ts, quantity, ROW_NUMBER() OVER (PARTITION BY symbol \
              ORDER BY quantity DESC, ts) AS place FROM trades) AS ranked WHERE place <= 3",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "first_trades",
        sql: "SELECT symbol, ts, quantity FROM (SELECT symbol, ts, quantity, ROW_NUMBER() OVER (PARTITION BY symbol \
              ORDER BY ts) AS place FROM trades) AS ranked WHERE place = 1",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        name: "window_top",
        sql: "SELECT symbol, window_end, volume FROM (SELECT symbol, window_start, window_end, volume, ROW_NUMBER() OVER \
              (PARTITION BY window_start, window_end ORDER BY volume DESC, symbol) AS place FROM \
              (SELECT symbol, window_start, window_end, SUM(quantity) AS volume \
              FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
              GROUP BY symbol, window_start, window_end) AS totals) AS ranked WHERE place <= 2",
        stopped: Stopped::PartOfFullAnswer,
    },
    Query {
        // Every trade moves its quantity from one account to another: the total of all accounts is 0 in every answer
        // that is right for some prefix of the trades (the transfers test of "Streaming systems and consistency").
        name: "transfers",
        sql: "SELECT SUM(balance) AS total FROM (SELECT account, SUM(amount) AS balance FROM (\
              SELECT symbol AS account, -quantity AS amount FROM trades UNION ALL \
              SELECT CONCAT('S', CAST(quantity AS STRING)) AS account, quantity AS amount FROM trades) AS entries \
              GROUP BY account) AS balances",
        stopped: Stopped::AnswerOverConsumed,
    },
    Query {
        name: "sorted",
        sql: "SELECT ts, symbol, quantity FROM trades ORDER BY ts",
        stopped: Stopped::PartOfFullAnswer,
    },
];

/// Plans, compiled once each.
#[derive(Default)]
pub struct Plans {
    compiled: BTreeMap<(&'static str, bool), Arc<StreamPlan>>,
}

impl Plans {
    /// The plan of `query`, with two-phase aggregation or without.
    pub fn get(&mut self, query: &Query, two_phase: bool) -> Arc<StreamPlan> {
        let compiled = self.compiled.entry((query.name, two_phase));
        compiled.or_insert_with(|| plan(query, two_phase)).clone()
    }

    /// Adds a plan that was compiled elsewhere, under the name of its query.
    pub fn add(&mut self, name: &'static str, plan: &Arc<StreamPlan>) {
        for two_phase in [false, true] {
            self.compiled.insert((name, two_phase), plan.clone());
        }
    }
}

fn plan(query: &Query, two_phase: bool) -> Arc<StreamPlan> {
    let strategy = if two_phase { "TWO_PHASE" } else { "ONE_PHASE" };
    let sql = format!(
        "SET 'table.optimizer.agg-phase-strategy' = '{strategy}';{TABLE}{};",
        query.sql
    );
    match compile(&sql, &[], None) {
        Ok(job) => job.plan,
        Err(error) => panic!(
            "{} does not compile: {}",
            query.name,
            error.render(query.name, &sql)
        ),
    }
}
