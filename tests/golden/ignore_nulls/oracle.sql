-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, price, lag(price IGNORE NULLS) OVER w AS before, lag(price, 2 IGNORE NULLS) OVER w AS before_that,
  lead(price IGNORE NULLS) OVER w AS next, lead(price, 2 IGNORE NULLS) OVER w AS after_next, lead(price) OVER w AS next_of_all
FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);
