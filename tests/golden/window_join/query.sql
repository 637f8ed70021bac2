-- The largest trades of each window.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT T.symbol, T.quantity, T.window_end
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '30' SECOND)) AS T
JOIN (
  SELECT MAX(quantity) AS most, window_start, window_end
  FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '30' SECOND))
  GROUP BY window_start, window_end
) AS M
ON T.window_start = M.window_start AND T.window_end = M.window_end AND T.quantity = M.most;
