-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
WITH names AS (SELECT * FROM (VALUES ('AAPL', 'Apple', 1 + 1), ('MSFT', 'Microsoft', NULL), ('XXX', NULL, 3)) AS t (symbol, name, number))
SELECT names.symbol, names.name, names.number, COUNT(trades.symbol) AS trades
FROM names LEFT JOIN trades ON trades.symbol = names.symbol
GROUP BY names.symbol, names.name, names.number;
