-- What is the order flow made of? Orders added, cancelled, modified and filled by side and depth.
SELECT
    symbol,
    date,
    split_part(name, '_', 1) AS side,
    regexp_extract(name, '^(?:bid|ask)_(l1|l2_10|deep)_', 1) AS zone,
    sum(value) FILTER (name LIKE '%\_add\_ct' ESCAPE '\') AS added,
    sum(value) FILTER (name LIKE '%\_cancel\_ct' ESCAPE '\') AS cancelled,
    sum(value) FILTER (name LIKE '%\_modify\_keep\_ct' ESCAPE '\') AS shrunk,
    sum(value) FILTER (name LIKE '%\_modify\_lose\_ct' ESCAPE '\') AS moved_away,
    sum(value) FILTER (name LIKE '%\_modify\_join\_ct' ESCAPE '\') AS moved_here,
    sum(value) FILTER (name LIKE '%\_fill\_ct' ESCAPE '\') AS filled
FROM (
    UNPIVOT (SELECT symbol, date, sum(COLUMNS('^(bid|ask)_.*_ct$')) FROM flow GROUP BY ALL)
    ON COLUMNS('^(bid|ask)_.*_ct$')
)
GROUP BY symbol, date, side, zone
ORDER BY symbol, date, side, zone DESC;
