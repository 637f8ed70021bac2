-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, quantity, lag(price) OVER w AS before, lead(price) OVER w AS next, lead(quantity, 2, -1) OVER w AS after_next,
count(*) OVER (PARTITION BY quantity ORDER BY ts) AS alike
FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);
