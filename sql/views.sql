-- Views on top of the lake's tables; each is made where its tables exist.  Add your own.

-- The best bid and ask of every book row that can be trusted, with what one usually derives.
CREATE VIEW touch AS
SELECT
    dataset,
    date,
    symbol,
    event,
    ts_recv,
    bid_px_00 AS bid_px,
    ask_px_00 AS ask_px,
    bid_sz_00 AS bid_sz,
    ask_sz_00 AS ask_sz,
    (bid_px_00 + ask_px_00) / 2 AS mid,
    ask_px_00 - bid_px_00 AS spread,
    (bid_sz_00 - ask_sz_00) / (bid_sz_00 + ask_sz_00) AS imbalance
FROM book
WHERE valid AND state = 'normal';

-- Trades with the aggressor's sign and the distance of the price from the mid before the print.
CREATE VIEW signed_trades AS
SELECT
    *,
    CASE side WHEN 'B' THEN size WHEN 'A' THEN -size ELSE 0 END AS signed_size,
    CASE side WHEN 'B' THEN 1 WHEN 'A' THEN -1 END * (price - (bid_px + ask_px) / 2)
        AS half_spread_paid
FROM trades;

-- Features of continuous symbols: each session's rows of the contract it means, with the roll
-- segment.  Prices are the contracts' own; `gap` stands in `rolls`, for adjusting what is drawn.
CREATE VIEW continuous AS
SELECT
    r.root || '.' || r.rule || '.' || r.rank AS series,
    r.root,
    r.rule,
    r.rank,
    r.roll,
    r.contract,
    f.*
FROM features AS f
JOIN rolls AS r
    ON f.dataset = r.dataset AND f.session = r.session AND f.symbol = r.contract;
