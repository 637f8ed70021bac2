//! Relations between answers of the real engine that hold whatever the answers are.

use tests::metamorphic::{Circumstances, answer, permuted, rows};
use tests::simulation::queries::{Plans, QUERIES};

const SEEDS: u64 = 12;

/// Whether the two answers are equal; the message says which row is not.
fn compare(
    plans: &mut Plans,
    left: (&'static str, Circumstances),
    right: (&'static str, Circumstances),
    seed: u64,
) {
    let rows = rows(seed);
    let first = answer(plans, left.0, &rows, left.1).expect("the left query runs");
    let second = answer(plans, right.0, &rows, right.1).expect("the right query runs");
    let differing = first
        .first_excess(&second)
        .or_else(|| second.first_excess(&first));
    assert_eq!(
        differing, None,
        "seed {seed}: `{}` under {:?} and `{}` under {:?}",
        left.0, left.1, right.0, right.1
    );
}

/// Two queries that mean the same have one answer, each under circumstances of its own.
fn same(left: &'static str, right: &'static str) {
    let mut plans = Plans::default();
    for seed in 0..SEEDS {
        let circumstances = Circumstances::of(seed);
        compare(
            &mut plans,
            (left, circumstances),
            (right, Circumstances::of(seed + 1_000)),
            seed,
        );
    }
}

/// Every simulated query has one answer under both circumstances.
fn unchanged(change: impl Fn(Circumstances) -> [Circumstances; 2]) {
    let mut plans = Plans::default();
    for query in QUERIES {
        for seed in 0..3 {
            let [before, after] = change(Circumstances::of(seed));
            compare(&mut plans, (query.sql, before), (query.sql, after), seed);
        }
    }
}

#[test]
fn the_number_of_shards_does_not_change_an_answer() {
    unchanged(|given| {
        [1, 7].map(|shards| Circumstances {
            shards: Some(shards),
            ..given
        })
    });
}

#[test]
fn the_cut_into_batches_does_not_change_an_answer() {
    unchanged(|given| {
        [1, 8_192].map(|rows| Circumstances {
            poll_rows: Some(rows),
            ..given
        })
    });
}

#[test]
fn two_phases_of_an_aggregation_give_the_answer_of_one() {
    unchanged(|given| {
        [true, false].map(|two_phase| Circumstances {
            shards: Some(3),
            two_phase: Some(two_phase),
            ..given
        })
    });
}

#[test]
fn rows_permuted_within_the_lateness_give_the_same_answer() {
    let mut plans = Plans::default();
    for query in QUERIES {
        for seed in 0..4 {
            let rows = rows(seed);
            let given = Circumstances::of(seed);
            let before = answer(&mut plans, query.sql, &rows, given).expect("the query runs");
            let after = answer(&mut plans, query.sql, &permuted(&rows, seed), given).expect("the query runs");
            let differing = before
                .first_excess(&after)
                .or_else(|| after.first_excess(&before));
            assert_eq!(differing, None, "seed {seed}, {}", query.name);
        }
    }
}

#[test]
fn a_tumbling_window_is_a_hop_whose_slide_is_its_size() {
    let tumble = "SELECT symbol, window_start, window_end, COUNT(*) AS trades, SUM(quantity) AS volume, MIN(price) AS low \
                  FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
                  GROUP BY symbol, window_start, window_end";
    same(
        tumble,
        "SELECT symbol, window_start, window_end, COUNT(*) AS trades, SUM(quantity) AS volume, MIN(price) AS low \
         FROM TABLE(HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '10' SECOND)) \
         GROUP BY symbol, window_start, window_end",
    );
    same(
        tumble,
        "SELECT symbol, window_start, window_end, COUNT(*) AS trades, SUM(quantity) AS volume, MIN(price) AS low \
         FROM TABLE(CUMULATE(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '10' SECOND)) \
         GROUP BY symbol, window_start, window_end",
    );
}

#[test]
fn rows_where_a_condition_holds_does_not_hold_or_is_null_are_all_rows() {
    let all = "SELECT ts, symbol, price, quantity FROM trades";
    same(
        all,
        "SELECT ts, symbol, price, quantity FROM trades WHERE price > 10 UNION ALL \
         SELECT ts, symbol, price, quantity FROM trades WHERE NOT (price > 10) UNION ALL \
         SELECT ts, symbol, price, quantity FROM trades WHERE (price > 10) IS NULL",
    );
    same(
        all,
        "SELECT ts, symbol, price, quantity FROM trades WHERE symbol LIKE 'S1%' OR price < quantity UNION ALL \
         SELECT ts, symbol, price, quantity FROM trades WHERE NOT (symbol LIKE 'S1%' OR price < quantity) UNION ALL \
         SELECT ts, symbol, price, quantity FROM trades WHERE (symbol LIKE 'S1%' OR price < quantity) IS NULL",
    );
}

#[test]
fn changes_fold_to_the_answer_that_comes_once() {
    let groups = "SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS volume, MAX(price) AS high, \
                  COUNT(DISTINCT quantity) AS sizes FROM trades GROUP BY symbol EMIT FINAL";
    same(
        groups,
        "SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS volume, MAX(price) AS high, \
         COUNT(DISTINCT quantity) AS sizes FROM trades GROUP BY symbol EMIT CHANGES",
    );
    same(
        groups,
        "SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS volume, MAX(price) AS high, \
         COUNT(DISTINCT quantity) AS sizes FROM trades GROUP BY symbol EMIT CHANGES EVERY ROW",
    );
    let windows = "SELECT symbol, window_end, SUM(quantity) AS volume, MAX(price) AS high \
                   FROM TABLE(HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)) \
                   GROUP BY symbol, window_start, window_end";
    same(
        windows,
        "SELECT symbol, window_end, SUM(quantity) AS volume, MAX(price) AS high \
         FROM TABLE(HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)) \
         GROUP BY symbol, window_start, window_end EMIT CHANGES",
    );
    same(
        windows,
        "SELECT symbol, window_end, SUM(quantity) AS volume, MAX(price) AS high \
         FROM TABLE(HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)) \
         GROUP BY symbol, window_start, window_end EMIT CHANGES EVERY ROW",
    );
}

#[test]
fn distinct_rows_are_the_groups_and_the_first_of_each_group() {
    let distinct = "SELECT DISTINCT symbol, quantity FROM trades";
    same(
        distinct,
        "SELECT symbol, quantity FROM trades GROUP BY symbol, quantity",
    );
    same(
        distinct,
        "SELECT symbol, quantity FROM (SELECT symbol, quantity, ROW_NUMBER() OVER (\
         PARTITION BY symbol, quantity ORDER BY ts) AS number FROM trades) AS numbered WHERE number = 1",
    );
}

#[test]
fn an_outer_join_is_the_inner_join_and_the_rows_without_a_partner() {
    same(
        "SELECT l.ts AS ts, r.ts AS other FROM trades AS l LEFT JOIN trades AS r \
         ON l.symbol = r.symbol AND l.quantity = r.quantity + 1",
        "SELECT l.ts AS ts, r.ts AS other FROM trades AS l JOIN trades AS r \
         ON l.symbol = r.symbol AND l.quantity = r.quantity + 1 UNION ALL \
         SELECT ts, CAST(NULL AS TIMESTAMP(3)) AS other FROM trades AS l WHERE NOT EXISTS (\
         SELECT * FROM trades AS r WHERE l.symbol = r.symbol AND l.quantity = r.quantity + 1)",
    );
}
