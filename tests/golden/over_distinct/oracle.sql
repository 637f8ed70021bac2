-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, symbol, count(DISTINCT quantity) OVER w AS quantities, sum(DISTINCT quantity) OVER w AS total, max(quantity) OVER w AS greatest
FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);
