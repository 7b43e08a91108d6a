-- Which run did best? All backtests with their figures, highest net profit first.
SELECT
    run_id,
    strategy,
    reading,
    symbols,
    sessions,
    net,
    gross,
    fees,
    currency,
    max_drawdown,
    sharpe,
    trades,
    hit_rate,
    profit_factor,
    fill_ratio,
    ahead_at_entry,
    markout_1s,
    simulated
FROM runs
ORDER BY net DESC;
