//! The planner's boundary: SQL text in, plan text or error out.

use super::*;
use crate::sql::parser::parse;
use crate::sql::statement::StatementKind;

const BID: &str = "CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, \
    `dateTime` TIMESTAMP(3), extra STRING, WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND) \
    WITH ('connector' = 'nexmark', 'nexmark.table' = 'bid');\n";

/// Plans the last statement of `sql`, after those before it are declared; BID stands on line 1.
fn plan(sql: &str) -> Result<LogicalPlan, SqlError> {
    let mut catalog = Catalog::default();
    let text = format!("{BID}{sql}");
    let mut planned = None;
    for statement in parse(&text)? {
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

fn check_plan(sql: &str, expected: &str) {
    let text = match plan(sql) {
        Ok(plan) => plan.display_indent().to_string(),
        Err(error) => format!("error: {error}"),
    };
    let expected: Vec<&str> = expected.trim().lines().collect();
    let expected = expected.join("\n");
    assert_eq!(text, expected, "\n{sql}\n{text}\n");
}

/// The error of `sql`, whose first line counts as line 1.
fn check_error(sql: &str, message: &str, line: u64, column: u64, hint: &str) {
    let error = plan(sql).expect_err(sql);
    let place = error.position.map(|position| (position.line.saturating_sub(1), position.column));
    let found = (error.message.as_str(), place, error.hint.as_deref().unwrap_or(""));
    assert_eq!(found, (message, Some((line, column)), hint), "{sql}");
}

#[test]
fn print_all() {
    for sql in [
        "SELECT auction, bidder, price, `dateTime`, extra FROM bid",
        "SELECT auction, bidder, 0.908 * price AS price, `dateTime`, extra FROM bid",
        "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0",
        "SELECT AuctionBids.auction, AuctionBids.num FROM (
   SELECT auction, count(*) AS num, window_start AS starttime, window_end AS endtime
     FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
     GROUP BY auction, window_start, window_end
 ) AS AuctionBids
 JOIN (
   SELECT max(CountBids.num) AS maxn, CountBids.starttime, CountBids.endtime
   FROM (
     SELECT count(*) AS num, window_start AS starttime, window_end AS endtime
     FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
     GROUP BY auction, window_start, window_end
   ) AS CountBids
   GROUP BY CountBids.starttime, CountBids.endtime
 ) AS MaxBids
 ON AuctionBids.starttime = MaxBids.starttime AND AuctionBids.endtime = MaxBids.endtime AND AuctionBids.num >= MaxBids.maxn",
        "SELECT B.auction, B.price, B.bidder, B.`dateTime`, B.extra FROM bid B JOIN (
   SELECT MAX(price) AS maxprice, window_end AS `dateTime`
   FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND)) GROUP BY window_start, window_end
 ) B1 ON B.price = B1.maxprice
 WHERE B.`dateTime` BETWEEN B1.`dateTime` - INTERVAL '10' SECOND AND B1.`dateTime`",
        "SELECT bidder, count(*) AS bid_count, window_start AS starttime, window_end AS endtime
 FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end",
        "SELECT DATE_FORMAT(`dateTime`, 'yyyy-MM-dd') AS `day`, count(*) AS total_bids,
     count(*) filter (where price < 10000) AS rank1_bids,
     count(distinct bidder) AS total_bidders,
     count(distinct bidder) filter (where price < 10000) AS rank1_bidders
 FROM bid GROUP BY DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')",
        "SELECT channel, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd') AS `day`, max(DATE_FORMAT(`dateTime`, 'HH:mm')) AS `minute`,
     count(*) AS total_bids, count(*) filter (where price >= 1000000) AS rank3_bids, count(distinct auction) AS total_auctions
 FROM bid GROUP BY channel, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')",
        "SELECT auction, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd') AS `day`, count(*) AS total_bids,
     min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price
 FROM bid GROUP BY auction, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')",
        "SELECT auction, bidder, price, channel, CASE
        WHEN lower(channel) = 'apple' THEN '0' WHEN lower(channel) = 'google' THEN '1'
        ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END AS channel_id
 FROM bid where REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) is not null or lower(channel) in ('apple', 'google', 'facebook', 'baidu')",
        "SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) as dir1, SPLIT_INDEX(url, '/', 4) as dir2 FROM bid",
    ] {
        match plan(sql) {
            Ok(plan) => println!("=====\n{sql}\n-----\n{}", plan.display_indent()),
            Err(error) => println!("=====\n{sql}\n-----\nerror: {error}"),
        }
    }
}
