-- Does a feature say anything about the return to come? Mean forward return by decile of it.
-- @feature = queue_imbalance   column of features
-- @label = y_return_1s   column of labels
WITH paired AS (
    SELECT f.symbol, f.session, f.event, f.ts, f.{feature} AS x, l.{label} AS y
    FROM features AS f
    JOIN labels AS l USING (dataset, session, symbol, event, ts)
    WHERE f.{feature} IS NOT NULL AND l.{label} IS NOT NULL
), ranked AS (
    SELECT *, ntile(10) OVER (PARTITION BY symbol ORDER BY x, session, ts, event) AS decile
    FROM paired
)
SELECT
    symbol,
    decile,
    count(*) AS rows,
    min(x) AS lowest,
    max(x) AS highest,
    avg(y) AS mean_return,
    avg(y) / nullif(stddev_samp(y) / sqrt(count(*)), 0) AS t_if_independent,
    avg((y > 0)::INT) AS share_up
FROM ranked
GROUP BY symbol, decile
ORDER BY symbol, decile;
