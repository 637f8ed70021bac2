-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT trades_of_symbol % 2 AS odd, true AS listed, length(string_agg(CAST(volume AS VARCHAR), ',')) AS digits,
  count(DISTINCT symbol) AS symbols, bit_or(CAST(volume AS BIGINT)) AS bits, bool_and(volume > 30) AS large,
  len(array_agg(volume)) AS volumes
FROM (SELECT symbol, count(*) AS trades_of_symbol, sum(quantity) AS volume FROM trades GROUP BY symbol)
GROUP BY trades_of_symbol % 2;
