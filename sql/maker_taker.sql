-- What do resting and crossing each bring? Fees, markouts and adverse selection by role.
-- @run = %   id of a run, or its first characters
SELECT
    run_id,
    reading,
    currency,
    part AS role,
    fills,
    contracts,
    fees,
    ahead_at_fill,
    markout_100ms,
    markout_1s,
    markout_10s,
    markout_60s,
    adverse_1s,
    adverse_10s
FROM breakdowns
WHERE split = 'role' AND run_id LIKE '{run}%'
ORDER BY run_id, reading, currency, rank;
