-- Does the heavier side of the touch win? Share of next mid moves upward by queue imbalance.
WITH moves AS (
    SELECT dataset, symbol, date, event, mid AS next_mid
    FROM (
        SELECT *, lag(mid) OVER (PARTITION BY dataset, symbol, date ORDER BY event) AS last_mid
        FROM touch
    )
    WHERE mid <> last_mid
)
SELECT
    t.symbol,
    floor((t.imbalance + 1) / 0.2).least(9) * 0.2 - 1 AS imbalance_from,
    count(*) AS rows,
    avg((m.next_mid > t.mid)::INT) AS share_up,
    avg(m.next_mid - t.mid) AS mean_move
FROM touch AS t
ASOF JOIN moves AS m
    ON t.dataset = m.dataset AND t.symbol = m.symbol AND t.date = m.date AND t.event < m.event
GROUP BY t.symbol, imbalance_from
ORDER BY t.symbol, imbalance_from;
