-- How good are predictions, out of sample? By session, the model and its baselines side by side.
-- @model = %   id of the model, or its first characters with % behind
-- `gain` is the share of the baseline's loss that the model saves (`mbo train` prints its t-value).
SELECT
    model,
    dataset,
    symbol,
    session,
    part,
    any_value(rows) FILTER (WHERE what = 'ic') AS rows,
    any_value(value) FILTER (WHERE what = 'auc') AS auc,
    any_value(value) FILTER (WHERE what = 'r2') AS r2,
    any_value(value) FILTER (WHERE what = 'log_loss') AS log_loss,
    any_value(value) FILTER (WHERE what = 'accuracy') AS accuracy,
    any_value(value) FILTER (WHERE what = 'ic') AS ic,
    any_value(value) FILTER (WHERE what = 'rank_ic') AS rank_ic,
    any_value(value) FILTER (WHERE what = 'gain')
    / nullif(any_value(value) FILTER (WHERE what IN ('mse', 'log_loss')), 0) AS gain
FROM scores
WHERE model LIKE '{model}'
GROUP BY model, dataset, symbol, session, part
ORDER BY model, dataset, symbol, session, part DESC;
