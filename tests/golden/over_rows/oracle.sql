-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, symbol, quantity, sum(quantity) OVER three AS last_three, max(price) OVER three AS high
FROM trades WINDOW three AS (PARTITION BY symbol ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);
