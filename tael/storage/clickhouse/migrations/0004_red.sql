-- Rates, errors and durations of spans, added up as they are written: what the span metrics are read from (docs/formats.md).

-- A row counts the spans of one operation that ended in the 15 seconds from `slot` on, with a duration in one bucket: the first of 2 ms, 4 ms, …
-- 16.384 s that it does not exceed, from 0 on; 14 is beyond the last. Rows of one key are added up when parts are merged.
CREATE TABLE IF NOT EXISTS {{database}}.red
(
    tenant LowCardinality(String),
    service LowCardinality(String),
    name LowCardinality(String),
    kind Int32 CODEC(ZSTD(1)),
    status_code Int32 CODEC(ZSTD(1)),
    bucket UInt8 CODEC(ZSTD(1)),
    slot DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    calls SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    seconds SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1))
)
ENGINE = {{aggregating_engine}}
PARTITION BY toStartOfDay(slot)
ORDER BY (tenant, service, name, kind, status_code, bucket, slot)
SETTINGS {{settings}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_to_red TO {{database}}.red AS
SELECT
    tenant,
    service,
    name,
    kind,
    status_code,
    toUInt8(least(14, greatest(0, ceil(log2(greatest(duration_ns, 1) / 2000000))))) AS bucket,
    toDateTime(intDiv(toUnixTimestamp64Nano(start_time) + greatest(duration_ns, 0), 15000000000) * 15, 'UTC') AS slot,
    count() AS calls,
    sum(greatest(duration_ns, 0) / 1e9) AS seconds
FROM {{database}}.spans
GROUP BY tenant, service, name, kind, status_code, bucket, slot
;
