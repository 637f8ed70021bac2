-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, symbol, count(DISTINCT quantity) OVER three AS quantities, sum(DISTINCT quantity) OVER three AS total
FROM trades WINDOW three AS (PARTITION BY symbol ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);
