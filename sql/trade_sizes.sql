-- How large are trades? Aggressive orders by size (doubling buckets), from their first print.
WITH orders AS (
    SELECT DISTINCT symbol, event, side, aggressor_size, aggressor_fills
    FROM trades
    WHERE side IN ('A', 'B')
)
SELECT
    symbol,
    (2 ** floor(log2(aggressor_size)))::BIGINT AS size_from,
    (2 ** (floor(log2(aggressor_size)) + 1) - 1)::BIGINT AS size_to,
    count(*) FILTER (side = 'B') AS buys,
    count(*) FILTER (side = 'A') AS sells,
    sum(aggressor_size) AS volume,
    sum(aggressor_size) / sum(sum(aggressor_size)) OVER (PARTITION BY symbol) AS share_of_volume,
    avg(aggressor_fills) AS mean_fills
FROM orders
WHERE aggressor_size > 0
GROUP BY symbol, size_from, size_to
ORDER BY symbol, size_from;
