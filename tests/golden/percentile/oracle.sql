-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden): each price stands there as often
-- as its quantity says.
WITH weighted AS (
  SELECT symbol, time_bucket(INTERVAL '1 minute', ts) AS window_start, quantile_cont(price, 0.25) AS weighted
  FROM trades, LATERAL (SELECT unnest(range(quantity)) AS copy) GROUP BY ALL
), plain AS (
  SELECT symbol, time_bucket(INTERVAL '1 minute', ts) AS window_start,
    quantile_cont(price, 0.5) AS middle, quantile_cont(quantity, 0.9) AS high
  FROM trades GROUP BY ALL
)
SELECT plain.symbol, plain.window_start, middle, high, weighted
FROM plain LEFT JOIN weighted ON plain.symbol IS NOT DISTINCT FROM weighted.symbol AND plain.window_start = weighted.window_start;
