-- What did the book look like just before each of our fills? The last book row before it.
SELECT
    f.run_id,
    f.reading,
    f.symbol,
    f.ts,
    f.side,
    f.size,
    f.price,
    f.role,
    f.reason,
    b.bid_px_00,
    b.ask_px_00,
    b.bid_sz_00,
    b.ask_sz_00,
    f.ahead_at_entry,
    CASE f.side WHEN 'B' THEN 1 ELSE -1 END * ((b.bid_px_00 + b.ask_px_00) / 2 - f.price) AS edge,
    f.markout_1s
FROM fills AS f
-- A maker's event filled it: the row before that. A taker's event is the last one it came after.
ASOF LEFT JOIN book AS b
    ON f.dataset = b.dataset AND f.symbol = b.symbol
    AND f.event + (f.role = 'taker')::INT > b.event
ORDER BY f.run_id, f.reading, f.ts, f.fill;
