-- What came from which file? Rows by raw file and day, with what was rejected.
SELECT
    file,
    schema,
    date,
    count(*) AS symbols,
    sum(rows) AS rows,
    any_value(records_in) AS records_in_file,
    any_value(rejected) AS rejected_in_file,
    any_value(reject_reasons) AS reasons,
    min(first_ts) AS first_ts,
    max(last_ts) AS last_ts,
    any_value(condition) AS condition
FROM sources
GROUP BY file, sha256, schema, date
ORDER BY date, schema, file;
