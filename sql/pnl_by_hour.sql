-- In which hours (UTC) does a run earn its money? Change of equity between marks, by hour.
WITH changes AS (
    SELECT
        run_id, reading, currency, dataset, symbol, session, ts, position,
        equity - coalesce(
            lag(equity) OVER (PARTITION BY run_id, reading, currency, dataset, symbol ORDER BY ts),
            0
        ) AS change,
        fees - coalesce(
            lag(fees) OVER (PARTITION BY run_id, reading, currency, dataset, symbol ORDER BY ts), 0
        ) AS paid
    FROM equity
)
SELECT
    run_id,
    reading,
    currency,
    hour(ts) AS hour_utc,
    sum(change) AS net,
    sum(paid) AS fees,
    avg(abs(position)) AS mean_position,
    count(DISTINCT session) AS sessions
FROM changes
GROUP BY ALL
ORDER BY run_id, reading, currency, hour_utc;
