-- Scenario 0. Pure SELECT: filter and project orders of 1,000 customers, amounts 150 to 249.
-- In Velostream's words; `velocore bench scenarios --scenario s0 --dialect velostream` runs it.
CREATE TABLE orders (
  order_id     BIGINT,
  customer_id  BIGINT,
  order_date   TIMESTAMP(3),
  total_amount DOUBLE
) WITH (
  'connector' = 'datagen',
  'number-of-rows' = '1000000',
  'fields.order_id.kind' = 'sequence',
  'fields.order_id.start' = '0',
  'fields.order_id.end' = '999999',
  'fields.customer_id.min' = '0',
  'fields.customer_id.max' = '999',
  'fields.total_amount.min' = '150',
  'fields.total_amount.max' = '249'
);

SELECT order_id, customer_id, order_date, total_amount
FROM orders
WHERE total_amount > 100;
