-- How wide is the market through the day? Time-weighted spread and depth at the touch by minute.
WITH held AS (
    -- How long each row stood, counted within its own minute.
    SELECT
        *,
        date_trunc('minute', ts_recv) AS minute,
        least(
            epoch_ns(lead(ts_recv) OVER (PARTITION BY dataset, symbol, date ORDER BY event)),
            epoch_ns(date_trunc('minute', ts_recv)) + 60_000_000_000
        ) - epoch_ns(ts_recv) AS ns
    FROM book
), spreads AS (
    SELECT
        held.symbol, minute, ns,
        (ask_px_00 - bid_px_00)::DOUBLE AS spread,
        i.tick_size::DOUBLE AS tick,
        (bid_sz_00 + ask_sz_00) / 2 AS size
    FROM held
    LEFT JOIN instruments AS i
        ON i.dataset = held.dataset AND i.symbol = held.symbol
        AND held.date BETWEEN i.first_date AND i.last_date
    WHERE valid AND state = 'normal' AND ns > 0
)
SELECT
    symbol,
    minute,
    sum(spread * ns) / sum(ns) AS mean_spread,
    sum(spread / tick * ns) / sum(ns) AS mean_spread_ticks,
    sum((spread <= tick)::INT * ns) / sum(ns) AS share_one_tick,
    sum(size * ns) / sum(ns) AS mean_touch_size,
    count(*) AS book_rows
FROM spreads
GROUP BY symbol, minute
ORDER BY symbol, minute;
