//! The planner's boundary: SQL text in, plan text or error out.

use super::*;
use crate::sql::parser::parse;
use crate::sql::statement::StatementKind;

const BID: &str = "CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, \
    `dateTime` TIMESTAMP(3), extra STRING, WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND) \
    WITH ('connector' = 'nexmark', 'nexmark.table' = 'bid');\n";

/// Plans the last query or insert of `sql`, after what stands before it is declared.
fn plan(sql: &str) -> Result<LogicalPlan, SqlError> {
    let mut catalog = Catalog::default();
    let mut planned = None;
    for statement in parse(sql)? {
        match &statement.kind {
            StatementKind::CreateTable(create) => catalog.define_table(create)?,
            StatementKind::CreateView(create) => catalog.define_view(create)?,
            StatementKind::Select(query) => planned = Some(QueryPlanner::new(&catalog).plan(query)?),
            StatementKind::Insert(insert) => {
                let plan = QueryPlanner::new(&catalog).plan(&insert.query)?;
                planned = Some(catalog.check_insert(&insert.table, &insert.columns, plan)?.1);
            }
            other => panic!("{other:?} is not planned here"),
        }
    }
    Ok(planned.expect("a query"))
}

/// The plan of a query over `bid`.
fn check_plan(sql: &str, expected: &str) {
    let text = match plan(&format!("{BID}{sql}")) {
        Ok(plan) => plan.display_indent().to_string(),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(text.trim(), expected.trim(), "\n{sql}\n{text}\n");
}

/// The error of a query over `bid`; its own first line counts as line 1.
fn check_error(sql: &str, message: &str, (line, column): (u64, u64), hint: &str) {
    let error = plan(&format!("{BID}{sql}")).expect_err(sql);
    let place = error
        .position
        .map(|position| (position.line.saturating_sub(1), position.column));
    let found = (error.message.as_str(), place, error.hint.as_deref().unwrap_or(""));
    assert_eq!(found, (message, Some((line, column)), hint), "{sql}");
}

#[test]
fn the_plans_of_nexmark_are_known() {
    let examples = [
        ("q0", include_str!("../../../../examples/nexmark/q0.sql")),
        ("q1", include_str!("../../../../examples/nexmark/q1.sql")),
        ("q2", include_str!("../../../../examples/nexmark/q2.sql")),
        ("q5", include_str!("../../../../examples/nexmark/q5.sql")),
        (
            "q5, old group windows",
            include_str!("../../../../examples/nexmark/q5_group_window.sql"),
        ),
        ("q7", include_str!("../../../../examples/nexmark/q7.sql")),
        ("q12", include_str!("../../../../examples/nexmark/q12.sql")),
        ("q15", include_str!("../../../../examples/nexmark/q15.sql")),
        ("q16", include_str!("../../../../examples/nexmark/q16.sql")),
        ("q17", include_str!("../../../../examples/nexmark/q17.sql")),
        ("q21", include_str!("../../../../examples/nexmark/q21.sql")),
        ("q22", include_str!("../../../../examples/nexmark/q22.sql")),
    ];
    let mut text = String::new();
    for (name, sql) in examples {
        let plan = plan(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
        text += &format!("-- {name}\n{}\n\n", plan.display_indent());
    }
    let expected = include_str!("nexmark_plans.txt");
    assert!(
        text == expected,
        "the plans have changed; if for the better, nexmark_plans.txt is now:\n{text}"
    );
}

#[test]
fn columns_of_a_window_resolve_with_and_without_the_relations_name() {
    let projection = "SubqueryAlias: B
  Projection: bid.auction, bid.window_start, bid.window_end
    WindowTvf: Tumble { size_us: 10000000 } on bid.dateTime
      TableScan: bid projection=[auction, dateTime]";
    let tumble = "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))";
    check_plan(
        &format!("SELECT B.auction, window_start, B.window_end FROM {tumble} AS B"),
        projection,
    );
    check_plan(
        &format!(
            "SELECT bid.auction, bid.window_start FROM {tumble} WHERE bid.price > 5 AND window_end > `dateTime`"
        ),
        "Projection: bid.auction, bid.window_start
  Filter: bid.window_end > bid.dateTime
    Projection: bid.auction, bid.dateTime, bid.window_start, bid.window_end
      WindowTvf: Tumble { size_us: 10000000 } on bid.dateTime
        TableScan: bid projection=[auction, dateTime], full_filters=[bid.price > Int64(5)]",
    );
}

#[test]
fn views_and_subqueries_keep_their_event_time() {
    check_plan(
        "CREATE TEMPORARY VIEW dear AS SELECT auction AS id, `dateTime` AS at, price FROM bid WHERE price > 5;
         SELECT id, window_end FROM TABLE(TUMBLE(TABLE dear, DESCRIPTOR(at), INTERVAL '1' MINUTE))",
        "Projection: dear.id, dear.window_end
  WindowTvf: Tumble { size_us: 60000000 } on dear.at
    SubqueryAlias: dear
      Projection: bid.auction AS id, bid.dateTime AS at
        TableScan: bid projection=[auction, dateTime], full_filters=[bid.price > Int64(5)]",
    );
}

#[test]
fn columns_of_one_name_are_numbered() {
    check_plan(
        "SELECT price, CAST(price AS STRING), price FROM bid",
        "Projection: bid.price, CAST(bid.price AS Utf8) AS price0, bid.price AS price1
  TableScan: bid projection=[price]",
    );
}

#[test]
fn expressions_without_a_name_are_named_by_their_place() {
    let names = |sql: &str| {
        let plan = plan(&format!("{BID}{sql}")).unwrap();
        plan.schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("SELECT price, price * 2, UPPER('a'), price AS p FROM bid"),
        ["price", "EXPR$1", "EXPR$2", "p"]
    );
    assert_eq!(
        names("SELECT `EXPR$0` FROM (SELECT COUNT(*) FROM bid GROUP BY price HAVING COUNT(*) > 1) AS x"),
        ["EXPR$0"]
    );
}

#[test]
fn a_filter_that_is_always_false_still_reads_its_table() {
    check_plan(
        "SELECT price FROM bid WHERE TRUE",
        "TableScan: bid projection=[price]",
    );
    check_plan(
        "SELECT price FROM bid WHERE 1 = 2",
        "TableScan: bid projection=[price], full_filters=[Boolean(false)]",
    );
}

#[test]
fn inserts_are_fitted_to_the_sink() {
    let sink = "CREATE TABLE sink (id BIGINT, name STRING, amount DECIMAL(20, 2)) WITH ('connector' = 'blackhole');\n";
    check_plan(
        &format!("{sink}INSERT INTO sink (amount, id) SELECT price, auction FROM bid"),
        "Projection: bid.auction AS id, Utf8(NULL) AS name, CAST(bid.price AS Decimal128(20, 2)) AS amount
  Projection: bid.price, bid.auction
    TableScan: bid projection=[auction, price]",
    );
}

#[test]
fn unknown_names_stand_at_their_place_with_the_nearest_name() {
    check_error(
        "SELECT prise FROM bid",
        "column `prise` not found",
        (1, 8),
        "did you mean `price`?",
    );
    check_error(
        "SELECT B.prise\nFROM bid AS B",
        "column `prise` not found",
        (1, 8),
        "did you mean `price`?",
    );
    check_error(
        "SELECT price FROM bid\nWHERE Price > 5",
        "column `Price` not found",
        (2, 7),
        "did you mean `price`?",
    );
    check_error(
        "SELECT price FROM bids",
        "table `bids` not found",
        (1, 19),
        "did you mean `bid`?",
    );
    check_error(
        "SELECT SUBSTRNG(url, 1) FROM bid",
        "function `SUBSTRNG` not found",
        (1, 8),
        "did you mean `SUBSTRING`?",
    );
    check_error(
        "SELECT C.price FROM bid AS B",
        "table `C` not found in FROM",
        (1, 8),
        "did you mean `B`?",
    );
}

#[test]
fn wrong_queries_are_told_in_plain_words() {
    check_error(
        "SELECT auction, price, COUNT(*) FROM bid GROUP BY auction",
        "`price` is neither grouped by nor aggregated",
        (1, 17),
        "add `price` to GROUP BY, or aggregate it, for example MAX(`price`)",
    );
    check_error(
        "SELECT A.price FROM bid A JOIN bid B ON auction = B.auction",
        "column `auction` is ambiguous",
        (1, 41),
        "write the table's name or alias before it",
    );
    check_error(
        "SELECT REGEXP_EXTRACT(url, '(') FROM bid",
        "'(' is no regular expression: unclosed group",
        (1, 28),
        "",
    );
    check_error(
        "SELECT window_end FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(price), INTERVAL '1' MINUTE))",
        "a window needs a time column, and `price` is BIGINT",
        (1, 59),
        "use a TIMESTAMP(3) or TIMESTAMP_LTZ(3) column declared with WATERMARK FOR",
    );
    check_error(
        "SELECT window_end FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(datetime), INTERVAL '1' MINUTE))",
        "column `datetime` not found",
        (1, 59),
        "did you mean `dateTime`?",
    );
    check_error(
        "SELECT SPLIT_INDEX(url, '/') FROM bid",
        "SPLIT_INDEX needs a STRING, a delimiter and an index, which counts from 0",
        (1, 8),
        "",
    );
    check_error(
        "SELECT auction FROM bid WHERE price",
        "WHERE needs a BOOLEAN, and `price` is BIGINT",
        (1, 31),
        "",
    );
    check_error(
        "SELECT price + channel FROM bid",
        "BIGINT and STRING do not go together",
        (1, 8),
        "bring one to the type of the other with CAST(… AS …)",
    );
    check_error(
        "SELECT UPPER(price > 5) FROM bid",
        "no function takes these arguments: upper(BOOLEAN)",
        (1, 8),
        "bring an argument to the right type with CAST(… AS …)",
    );
    check_error(
        "SELECT auction AS x, price AS x FROM bid",
        "two columns of the query are named `x`",
        (1, 22),
        "give one of them another name with AS",
    );
    check_error(
        "SELECT NOW() FROM bid",
        "NOW is not supported yet: results must not depend on the clock or on chance",
        (1, 8),
        "use the event time of the row, the column named in WATERMARK FOR",
    );
}

#[test]
fn aggregates_have_flinks_types() {
    let types = |sql: &str| {
        let plan = plan(&format!("{BID}{sql}")).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let types = plan
            .schema()
            .fields()
            .iter()
            .map(|field| field.data_type().to_string());
        types.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        types(
            "SELECT AVG(price) AS a, AVG(CAST(price AS INT)) AS b, AVG(CAST(price AS DOUBLE)) AS c FROM bid"
        ),
        "Int64, Int32, Float64"
    );
    assert_eq!(
        types("SELECT AVG(CAST(price AS DECIMAL(10, 2))), SUM(CAST(price AS DECIMAL(10, 2))) FROM bid"),
        "Decimal128(38, 6), Decimal128(38, 2)"
    );
    assert_eq!(
        types("SELECT SUM(CAST(price AS INT)), COUNT(*), MIN(channel) FROM bid"),
        "Int64, Int64, Utf8"
    );
    assert_eq!(
        types("SELECT LISTAGG(channel), STRING_AGG(channel, '/'), APPROX_COUNT_DISTINCT(channel) FROM bid"),
        "Utf8, Utf8, Int64"
    );
    assert_eq!(
        types("SELECT STDDEV_POP(price), VAR_SAMP(price), CORR(price, auction) FROM bid"),
        "Float64, Float64, Float64"
    );
    assert_eq!(
        types(
            "SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY price), APPROX_PERCENTILE_CONT(price, 0.95) FROM bid"
        ),
        "Float64, Float64"
    );
    assert_eq!(
        types("SELECT FIRST_VALUE(channel), LAST_VALUE(price), BOOL_AND(price > 5), BIT_AND(price) FROM bid"),
        "Utf8, Int64, Boolean, Int64"
    );
}
