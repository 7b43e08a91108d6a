-- How wide is the market through the day? Time-weighted spread and depth at the touch by minute.
WITH held AS (
    SELECT
        dataset, symbol, date, ts_recv, spread, bid_sz, ask_sz,
        epoch_ns(lead(ts_recv) OVER (PARTITION BY dataset, symbol, date ORDER BY event))
            - epoch_ns(ts_recv) AS ns
    FROM touch
)
SELECT
    held.symbol,
    date_trunc('minute', held.ts_recv) AS minute,
    sum(held.spread::DOUBLE * held.ns) / nullif(sum(held.ns), 0) AS mean_spread,
    sum(held.spread::DOUBLE * held.ns) / nullif(sum(held.ns), 0) / any_value(i.tick_size)
        AS mean_spread_ticks,
    sum(held.ns) FILTER (held.spread <= i.tick_size) / nullif(sum(held.ns), 0) AS share_one_tick,
    sum((held.bid_sz + held.ask_sz) / 2.0 * held.ns) / nullif(sum(held.ns), 0) AS mean_touch_size,
    count(*) AS book_rows
FROM held
LEFT JOIN instruments AS i
    ON i.dataset = held.dataset AND i.symbol = held.symbol
    AND held.date BETWEEN i.first_date AND i.last_date
GROUP BY held.symbol, minute
ORDER BY held.symbol, minute;
