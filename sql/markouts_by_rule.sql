-- Which fills are good ones? Markouts after fills by the rule that filled us and our role.
-- @run = %   id of a run, or its first characters
SELECT
    run_id,
    reading,
    role,
    reason,
    count(*) AS fills,
    sum(size) AS contracts,
    avg(ahead_at_entry) AS mean_ahead_at_entry,
    sum(markout_100ms * size) / sum(size) FILTER (markout_100ms IS NOT NULL) AS markout_100ms,
    sum(markout_1s * size) / sum(size) FILTER (markout_1s IS NOT NULL) AS markout_1s,
    sum(markout_10s * size) / sum(size) FILTER (markout_10s IS NOT NULL) AS markout_10s,
    sum(markout_60s * size) / sum(size) FILTER (markout_60s IS NOT NULL) AS markout_60s
FROM fills
WHERE run_id LIKE '{run}%'
GROUP BY run_id, reading, role, reason
ORDER BY run_id, reading, contracts DESC;
