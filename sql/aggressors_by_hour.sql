-- Who was pushing, and when? Bought against sold volume and what they paid over the mid, by hour.
SELECT
    symbol,
    date,
    hour(ts_recv) AS hour_utc,
    sum(size) AS volume,
    sum(signed_size) AS bought_less_sold,
    sum(signed_size) / sum(size) AS imbalance,
    sum(half_spread_paid * size) / sum(size) FILTER (half_spread_paid IS NOT NULL)
        AS mean_half_spread_paid,
    first(price ORDER BY event) AS first_price,
    last(price ORDER BY event) AS last_price
FROM signed_trades
GROUP BY symbol, date, hour_utc
ORDER BY symbol, date, hour_utc;
