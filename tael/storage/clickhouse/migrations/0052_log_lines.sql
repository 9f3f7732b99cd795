-- Which names of labels and levels a record's attributes have, and the level that its line is shown with, found as records are written; and how many lines
-- of each level a stream has in each minute, in the row of its hour (docs/adr/0027). A rolling table is like its hot table.

ALTER TABLE {{database}}.logs
    ADD COLUMN IF NOT EXISTS line_names UInt32 DEFAULT {{line_names}} CODEC(LZ4),
    ADD COLUMN IF NOT EXISTS line_level {{line_level_type}} DEFAULT {{line_level}} CODEC(LZ4)
;

ALTER TABLE {{database}}.logs_rolling
    ADD COLUMN IF NOT EXISTS line_names UInt32 DEFAULT {{line_names}} CODEC(LZ4),
    ADD COLUMN IF NOT EXISTS line_level {{line_level_type}} DEFAULT {{line_level}} CODEC(LZ4)
;

ALTER TABLE {{database}}.log_streams ADD COLUMN IF NOT EXISTS minutes {{minutes_type}} CODEC(ZSTD(1))
;

ALTER TABLE {{database}}.logs_to_log_streams MODIFY QUERY
SELECT
    tenant,
    stream,
    toStartOfHour(timestamp) AS hour,
    CAST(any(stream_labels), 'Map(String, String)') AS labels,
    count() AS records,
    sum(length(body)) AS bytes,
    {{minutes_of_rows}} AS minutes
FROM {{database}}.logs
GROUP BY tenant, stream, hour
;
