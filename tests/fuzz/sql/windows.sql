SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE t (id BIGINT, name STRING, ts TIMESTAMP(3), price DECIMAL(10, 2), tags ARRAY<STRING>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'memory');
CREATE VIEW v AS SELECT name, CAST(price AS DOUBLE) AS p, ts FROM t WHERE id IN (1, 2, 3) OR name LIKE 'a%';
SELECT name, window_start, COUNT(*), SUM(p) FILTER (WHERE p > 1.5) FROM TABLE(HOP(TABLE v, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '1' MINUTE))
GROUP BY name, window_start, window_end HAVING COUNT(*) > 2 EMIT CHANGES;
