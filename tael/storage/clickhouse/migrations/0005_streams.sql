-- Log streams: which one a record belongs to, and the streams of each hour with their labels (docs/formats.md).

ALTER TABLE {{database}}.logs ADD COLUMN IF NOT EXISTS stream UInt64 DEFAULT {{stream_of_row}} CODEC(LZ4) AFTER service
;

-- Rows of one key are added up when parts are merged; a reader groups.
CREATE TABLE IF NOT EXISTS {{database}}.log_streams
(
    tenant LowCardinality(String),
    stream UInt64 CODEC(ZSTD(1)),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    labels SimpleAggregateFunction(any, Map(String, String)) CODEC(ZSTD(1)),
    records SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    bytes SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1))
)
ENGINE = {{aggregating_engine}}
PARTITION BY hour
ORDER BY (tenant, stream, hour)
SETTINGS {{settings}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.logs_to_log_streams TO {{database}}.log_streams AS
SELECT tenant, stream, toStartOfHour(timestamp) AS hour, {{stream_labels}} AS labels, count() AS records, sum(length(body)) AS bytes
FROM {{database}}.logs
GROUP BY tenant, stream, hour
;
