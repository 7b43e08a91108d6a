-- Can each day be trusted? Records, how the book began, and what did not add up.
SELECT
    dataset,
    date,
    symbol,
    start,
    condition,
    records,
    events,
    orphan_cancels,
    orphan_modifies,
    duplicate_adds,
    sequence_regressions,
    bad_ts_rows,
    crossed_ns / 1e9 AS crossed_s,
    locked_ns / 1e9 AS locked_s,
    fifo_consistent / nullif(fifo_fills, 0) AS fifo_share,
    roll_mismatch_orders
FROM quality
ORDER BY dataset, symbol, date;
