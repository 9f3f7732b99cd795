-- Log records, and the landing table whose materialized view fills them.

CREATE TABLE IF NOT EXISTS {{database}}.logs
(
    tenant LowCardinality(String),
    service LowCardinality(String),
    -- When it happened, or else when it was observed, or else when it arrived.
    timestamp DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    -- Drawn at random: tells records of one instant apart, for pages.
    serial UInt64 CODEC(NONE),
    observed_timestamp DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    -- Zeros where a record belongs to no trace, or to no span.
    trace_id FixedString(16) CODEC(LZ4),
    span_id FixedString(8) CODEC(LZ4),
    severity_number Int32 CODEC(LZ4),
    severity_text LowCardinality(String) CODEC(LZ4),
    level Enum8('unspecified' = 0, 'trace' = 1, 'debug' = 2, 'info' = 3, 'warn' = 4, 'error' = 5, 'fatal' = 6) CODEC(LZ4),
    event_name LowCardinality(String) CODEC(LZ4),
    body String CODEC(ZSTD(1)),
    body_type Enum8('none' = 0, 'string' = 1, 'bool' = 2, 'int' = 3, 'double' = 4, 'array' = 5, 'map' = 6, 'bytes' = 7) CODEC(LZ4),
    attributes_string Map(String, String) CODEC(LZ4),
    attributes_int Map(String, Int64) CODEC(LZ4),
    attributes_double Map(String, Float64) CODEC(LZ4),
    attributes_bool Map(String, Bool) CODEC(LZ4),
    attributes_other Map(String, String) CODEC(ZSTD(1)),
    dropped_attributes_count UInt32 CODEC(LZ4),
    flags UInt32 CODEC(LZ4),
    resource_string Map(String, String) CODEC(LZ4),
    resource_int Map(String, Int64) CODEC(LZ4),
    resource_double Map(String, Float64) CODEC(LZ4),
    resource_bool Map(String, Bool) CODEC(LZ4),
    resource_other Map(String, String) CODEC(ZSTD(1)),
    resource_dropped_attributes_count UInt32 CODEC(LZ4),
    resource_schema_url LowCardinality(String) CODEC(LZ4),
    scope_name LowCardinality(String) CODEC(LZ4),
    scope_version LowCardinality(String) CODEC(LZ4),
    scope_string Map(String, String) CODEC(LZ4),
    scope_other Map(String, String) CODEC(LZ4),
    scope_dropped_attributes_count UInt32 CODEC(LZ4),
    scope_schema_url LowCardinality(String) CODEC(LZ4),
    received_at DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    INDEX by_trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_body_word body TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(body))
)
ENGINE = {{engine}}
PARTITION BY toStartOfHour(timestamp)
ORDER BY (tenant, service, toStartOfHour(timestamp), timestamp)
SETTINGS {{settings}}
;

CREATE TABLE IF NOT EXISTS {{database}}.logs_in_1 ({{logs_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.logs_in_1_to_logs TO {{database}}.logs AS
{{logs_in_1_select}}
;
