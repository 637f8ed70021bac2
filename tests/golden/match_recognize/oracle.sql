-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, quantity AS first_quantity, third AS last_quantity, quantity + second + third AS total,
  greatest(price, second_price, third_price) AS highest, third_ts AS ended
FROM (
  SELECT *, lead(quantity) OVER w AS second, lead(quantity, 2) OVER w AS third, lead(price) OVER w AS second_price,
    lead(price, 2) OVER w AS third_price, lead(ts, 2) OVER w AS third_ts
  FROM trades WHERE quantity <> 9 WINDOW w AS (PARTITION BY symbol ORDER BY ts)
)
WHERE second < quantity AND third < second AND third_ts - ts < INTERVAL '10' SECOND;
