-- In which hours of the exchange's day does a run earn its money? Its own hours, from the open.
-- @run = %   id of a run, or its first characters
SELECT
    run_id,
    reading,
    currency,
    part AS hour,
    zone,
    net,
    gross,
    fees,
    contracts,
    trades,
    hit_rate,
    exposure,
    mean_position,
    markout_1s
FROM breakdowns
WHERE split = 'hour' AND run_id LIKE '{run}%'
ORDER BY run_id, reading, currency, rank;
