-- How did the trials of a sweep do? Each with what was varied and its figures, best first.
-- @sweep = %   id of the sweep, or its first characters with % behind
SELECT
    s.sweep_id,
    s.trial,
    s.window,
    s.role,
    s.chosen,
    s.point,
    s.metric,
    s.value,
    s.first_session,
    s.last_session,
    r.net,
    r.fees,
    r.sharpe,
    r.max_drawdown,
    r.trades,
    r.hit_rate,
    r.fills,
    r.markout_1s,
    s.run_id
FROM sweeps AS s
LEFT JOIN runs AS r ON r.run_id = s.run_id AND r.reading = s.reading
WHERE s.sweep_id LIKE '{sweep}'
ORDER BY s.sweep_id, s.window, s.role DESC, s.value DESC NULLS LAST;
