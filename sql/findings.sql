-- Does the market behave as the literature says? Order flow, deeper levels, queues; with t-values.
-- Needs `mbo features --set findings`. Rows are 10 s apart, blocks half an hour long; every R2 is out
-- of sample: slopes come from the symbol's earlier blocks. Estimates are means over blocks, t is
-- theirs, and `holds` is t > 3.
--   same  the same 10 s, as published (Cont, Kukanov and Stoikov 2014, tables 2 and 3, appendix B.3).
--         Partly accounting: a touch that moves is itself order flow, in any market.
--   next  the 10 s after: what could be known before. Nothing holds where prices move by themselves.
WITH intervals AS (
    SELECT
        dataset, symbol, session, time_bucket(INTERVAL 30 MINUTE, ts) AS block,
        ofi_10s AS x0, ofi_level_1_10s AS x1, ofi_level_2_10s AS x2, signed_volume_10s AS v,
        queue_imbalance AS q, return_10s AS y_same, y_return_10s AS y_next
    FROM features_findings
    JOIN labels_findings USING (dataset, session, symbol, event, ts)
    WHERE ofi_10s IS NOT NULL AND ofi_level_2_10s IS NOT NULL
        AND signed_volume_10s IS NOT NULL
), spans AS (
    SELECT * EXCLUDE (y_same, y_next, q), 'same' AS span, y_same AS y
    FROM intervals WHERE y_same IS NOT NULL
    UNION ALL
    SELECT * EXCLUDE (y_same, y_next, q), 'next' AS span, y_next AS y
    FROM intervals WHERE y_next IS NOT NULL
), past AS (
    -- Means and moments of all earlier blocks.
    SELECT
        span, dataset, symbol, block, count(*) OVER earlier AS n_earlier,
        avg(y) OVER earlier AS my, avg(v) OVER earlier AS mv,
        avg(x0) OVER earlier AS m0, avg(x1) OVER earlier AS m1, avg(x2) OVER earlier AS m2,
        covar_pop(y, v) OVER earlier AS cvy, var_pop(v) OVER earlier AS cvv,
        covar_pop(y, x0) OVER earlier AS c0y, var_pop(x0) OVER earlier AS c00,
        covar_pop(y, x1) OVER earlier AS c1y, covar_pop(x0, x1) OVER earlier AS c01,
        covar_pop(y, x2) OVER earlier AS c2y, covar_pop(x0, x2) OVER earlier AS c02,
        var_pop(x1) OVER earlier AS c11, covar_pop(x1, x2) OVER earlier AS c12,
        var_pop(x2) OVER earlier AS c22
    FROM spans
    WINDOW earlier AS (
        PARTITION BY span, dataset, symbol ORDER BY block
        RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING
    )
    QUALIFY n_earlier >= 360
        AND row_number() OVER (PARTITION BY span, dataset, symbol, block) = 1
), slopes AS (
    -- Of each level the part that the levels before it leave unsaid, and its slope.
    SELECT
        *,
        c11 - c01 * c01 / c00 AS c11_rest,
        (c12 - c01 * c02 / c00) / c11_rest AS g12,
        (c1y - c01 * c0y / c00) / c11_rest AS slope_1,
        c22 - c02 * c02 / c00 - g12 * g12 * c11_rest AS c22_rest,
        (c2y - c02 * c0y / c00 - g12 * slope_1 * c11_rest) / c22_rest AS slope_2
    FROM past
    WHERE cvv > 0 AND c00 > 0
), errors AS (
    SELECT
        span, dataset, symbol, block,
        b.y - s.my AS e,
        e - s.cvy / s.cvv * (b.v - s.mv) AS e_volume,
        b.x0 - s.m0 AS z0,
        b.x1 - s.m1 - s.c01 / s.c00 * z0 AS z1,
        b.x2 - s.m2 - s.c02 / s.c00 * z0 - s.g12 * z1 AS z2,
        e - s.c0y / s.c00 * z0 AS e0,
        e0 - s.slope_1 * z1 AS e1,
        e1 - s.slope_2 * z2 AS e2
    FROM spans AS b
    JOIN slopes AS s USING (span, dataset, symbol, block)
), fits AS (
    SELECT
        span, dataset, symbol, block, sum(e * e) AS whole,
        1 - sum(e_volume * e_volume) / whole AS volume,
        1 - sum(e0 * e0) / whole AS ofi,
        1 - sum(e1 * e1) / whole AS two_levels,
        1 - sum(e2 * e2) / whole AS three_levels
    FROM errors
    GROUP BY span, dataset, symbol, block
    HAVING count(*) >= 60 AND whole > 0
), ranked AS (
    -- Ties share their mean rank. Ranks within a block would be biased: in so few moves an up makes
    -- later downs likelier, and the queues remember the last move.
    SELECT
        dataset, symbol, block, sign(y_next) AS way,
        rank() OVER (PARTITION BY dataset, symbol ORDER BY q)
        + (count(*) OVER (PARTITION BY dataset, symbol, q) - 1) / 2 AS place,
        count(*) OVER whole AS n,
        count(*) FILTER (y_next > 0) OVER whole AS ups
    FROM intervals
    WHERE y_next <> 0 AND q IS NOT NULL
    WINDOW whole AS (PARTITION BY dataset, symbol)
), areas AS (
    -- Parts of the area under the curve: their mean over blocks is the area.
    SELECT
        dataset, symbol, block,
        0.5 + sum(((place - 0.5) / n - 0.5) * way) * any_value(n / (2.0 * ups * (n - ups)))
        * count(*) OVER (PARTITION BY dataset, symbol) AS auc
    FROM ranked
    WHERE ups > 0 AND ups < n
    GROUP BY dataset, symbol, block
), results AS (
    SELECT span, dataset, symbol, 'D1' AS id, 'OFI: R2' AS finding, ofi AS x, 0 AS nothing FROM fits
    UNION ALL
    SELECT span, dataset, symbol, 'D2', 'OFI less signed volume: R2', ofi - volume, 0 FROM fits
    UNION ALL
    SELECT span, dataset, symbol, 'D5', 'level 2 besides level 1: R2', two_levels - ofi, 0 FROM fits
    UNION ALL
    SELECT span, dataset, symbol, 'D5', 'level 3 besides both: R2', three_levels - two_levels, 0
    FROM fits
    UNION ALL
    SELECT 'next', dataset, symbol, 'D11', 'queue imbalance: AUC of the direction', auc, 0.5
    FROM areas
)
SELECT
    symbol, span, id, finding,
    round(avg(x), 4) AS estimate,
    round(avg(x - nothing) / nullif(stddev_samp(x), 0) * sqrt(count(*)), 1) AS t,
    count(*) AS blocks,
    t > 3 AS holds
FROM results
GROUP BY dataset, symbol, span, id, finding
ORDER BY symbol, span DESC, length(id), id, finding;
