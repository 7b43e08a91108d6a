-- At which prices did the volume trade? Contracts by price and aggressor, largest symbols first.
SELECT
    symbol,
    price,
    sum(size) AS volume,
    coalesce(sum(size) FILTER (side = 'B'), 0) AS bought,
    coalesce(sum(size) FILTER (side = 'A'), 0) AS sold,
    sum(size) / sum(sum(size)) OVER (PARTITION BY symbol) AS share,
    count(*) AS prints
FROM trades
GROUP BY symbol, price
ORDER BY sum(sum(size)) OVER (PARTITION BY symbol) DESC, symbol, price DESC;
