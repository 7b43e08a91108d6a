-- Which sessions made the result, and how evenly? Profit by session, and summed up so far.
-- @run = %   id of a run, or its first characters
SELECT
    run_id,
    reading,
    currency,
    part AS session,
    net,
    sum(net) OVER (PARTITION BY run_id, reading, currency ORDER BY rank) AS net_so_far,
    fees,
    contracts,
    trades,
    hit_rate,
    exposure,
    maker_share,
    adverse_1s
FROM breakdowns
WHERE split = 'session' AND run_id LIKE '{run}%'
ORDER BY run_id, reading, currency, rank;
