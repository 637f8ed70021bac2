-- Orders with their payment, if one came within ten minutes; and how much each customer has paid so far.
CREATE TABLE orders (
  id       BIGINT,
  customer STRING,
  ts       TIMESTAMP(3),
  WATERMARK FOR ts AS ts
) WITH ('connector' = 'stdin', 'format' = 'json');
CREATE TABLE payments (
  order_id BIGINT,
  amount   DECIMAL(10, 2),
  ts       TIMESTAMP(3),
  WATERMARK FOR ts AS ts
) WITH ('connector' = 'filesystem', 'path' = '/data/payments', 'format' = 'json', 'source.monitor-interval' = '1 s');
CREATE TABLE settled (
  id       BIGINT,
  customer STRING,
  amount   DECIMAL(10, 2)
) WITH ('connector' = 'filesystem', 'path' = '/data/settled', 'format' = 'json');
CREATE TABLE turnover (
  customer STRING,
  orders   BIGINT,
  amount   DECIMAL(38, 2)
) WITH ('connector' = 'print');

CREATE TEMPORARY VIEW paid AS
SELECT o.id, o.customer, p.amount
FROM orders AS o
LEFT JOIN payments AS p
ON o.id = p.order_id AND p.ts BETWEEN o.ts AND o.ts + INTERVAL '10' MINUTE;

INSERT INTO settled SELECT id, customer, amount FROM paid;

INSERT INTO turnover
SELECT customer, COUNT(*) AS orders, SUM(amount) AS amount FROM paid WHERE amount IS NOT NULL GROUP BY customer;
