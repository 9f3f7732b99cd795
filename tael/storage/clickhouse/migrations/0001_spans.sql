-- Spans, the index of traces, and the landing table whose materialized views fill both.
-- A line that holds only a semicolon ends a statement. Names in double braces are filled in by schema.py.

CREATE TABLE IF NOT EXISTS {{database}}.spans
(
    tenant LowCardinality(String),
    service LowCardinality(String),
    start_time DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    -- End minus start, modulo 2^64: with it the end comes back as it was received, wherever it lies.
    duration_ns Int64 CODEC(LZ4),
    trace_id FixedString(16) CODEC(LZ4),
    span_id FixedString(8) CODEC(NONE),
    parent_span_id String CODEC(LZ4),
    name LowCardinality(String) CODEC(LZ4),
    kind Int32 CODEC(LZ4),
    status_code Int32 CODEC(LZ4),
    status_message String CODEC(ZSTD(1)),
    trace_state String CODEC(ZSTD(1)),
    flags UInt32 CODEC(LZ4),
    dropped_attributes_count UInt32 CODEC(LZ4),
    dropped_events_count UInt32 CODEC(LZ4),
    dropped_links_count UInt32 CODEC(LZ4),
    attributes_string Map(String, String) CODEC(LZ4),
    attributes_int Map(String, Int64) CODEC(LZ4),
    attributes_double Map(String, Float64) CODEC(LZ4),
    attributes_bool Map(String, Bool) CODEC(LZ4),
    attributes_other Map(String, String) CODEC(ZSTD(1)),
    events Nested
    (
        time DateTime64(9, 'UTC'),
        name LowCardinality(String),
        attributes_string Map(String, String),
        attributes_other Map(String, String),
        dropped_attributes_count UInt32
    ) CODEC(ZSTD(1)),
    links Nested
    (
        trace_id String,
        span_id String,
        trace_state String,
        attributes_string Map(String, String),
        attributes_other Map(String, String),
        dropped_attributes_count UInt32,
        flags UInt32
    ) CODEC(ZSTD(1)),
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
    -- What a span of an LLM call says of it, whichever dialect wrote it; the operation is empty on every other span.
    llm_provider LowCardinality(String) CODEC(LZ4),
    llm_model LowCardinality(String) CODEC(LZ4),
    llm_operation LowCardinality(String) CODEC(LZ4),
    llm_input_tokens Nullable(Int64) CODEC(LZ4),
    llm_output_tokens Nullable(Int64) CODEC(LZ4),
    llm_total_tokens Nullable(Int64) CODEC(LZ4),
    llm_cost_usd Nullable(Float64) CODEC(LZ4),
    llm_ttft_ms Nullable(Float64) CODEC(LZ4),
    llm_finish_reason LowCardinality(String) CODEC(LZ4),
    llm_temperature Nullable(Float64) CODEC(LZ4),
    received_at DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    INDEX by_trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = {{engine}}
PARTITION BY toStartOfHour(start_time)
ORDER BY (tenant, service, toStartOfHour(start_time), start_time)
SETTINGS {{settings}}
;

-- Which hours a trace has spans in, and between which seconds of the hour. Minimum and maximum do not mind being fed twice.
CREATE TABLE IF NOT EXISTS {{database}}.trace_index
(
    tenant LowCardinality(String),
    trace_id FixedString(16) CODEC(LZ4),
    hour DateTime('UTC') CODEC(Delta, LZ4),
    first_start SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta, LZ4),
    last_start SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta, LZ4)
)
ENGINE = {{aggregating_engine}}
PARTITION BY toStartOfDay(hour)
ORDER BY (tenant, trace_id, hour)
SETTINGS {{settings}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_to_trace_index TO {{database}}.trace_index AS
SELECT tenant, trace_id, toStartOfHour(start_time) AS hour, min(start_time) AS first_start, max(start_time) AS last_start
FROM {{database}}.spans
GROUP BY tenant, trace_id, hour
;

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_1 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_1_to_spans TO {{database}}.spans AS
{{spans_in_1_select}}
;
