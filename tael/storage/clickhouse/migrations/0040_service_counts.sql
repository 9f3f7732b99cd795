-- What services and operations there are and how much each does, added up as spans are written (docs/formats.md): by the minute and by the hour of
-- their start. A trace is counted by a state that merges, so one that crosses a minute or an hour counts once.

CREATE TABLE IF NOT EXISTS {{database}}.service_minutes
(
    tenant LowCardinality(String),
    minute DateTime('UTC') CODEC(Delta, ZSTD(1)),
    service LowCardinality(String),
    spans SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    errors SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    duration_ns SimpleAggregateFunction(sum, UInt128) CODEC(ZSTD(1)),
    traces {{trace_state}} CODEC(ZSTD(1))
)
ENGINE = {{aggregating_engine}}
PARTITION BY toStartOfHour(minute)
ORDER BY (tenant, minute, service)
SETTINGS {{settings}}
;

CREATE TABLE IF NOT EXISTS {{database}}.service_hours
(
    tenant LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    service LowCardinality(String),
    spans SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    errors SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    duration_ns SimpleAggregateFunction(sum, UInt128) CODEC(ZSTD(1)),
    traces {{trace_state}} CODEC(ZSTD(1))
)
ENGINE = {{aggregating_engine}}
PARTITION BY hour
ORDER BY (tenant, hour, service)
SETTINGS {{settings}}
;

CREATE TABLE IF NOT EXISTS {{database}}.span_names
(
    tenant LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    service LowCardinality(String),
    name LowCardinality(String) CODEC(ZSTD(1))
)
ENGINE = {{replacing_engine}}
PARTITION BY hour
ORDER BY (tenant, hour, service, name)
SETTINGS {{settings}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.service_minutes_to_service_hours TO {{database}}.service_hours AS
SELECT
    tenant,
    toStartOfHour(minute) AS hour,
    service,
    sum(spans) AS spans,
    sum(errors) AS errors,
    sum(duration_ns) AS duration_ns,
    {{trace_state_merged}}(traces) AS traces
FROM {{database}}.service_minutes
GROUP BY tenant, hour, service
;

-- Starts that 32 bits of seconds cannot hold are left out: a reader that is asked for them reads the spans.
CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_to_service_minutes TO {{database}}.service_minutes AS
SELECT
    tenant,
    toStartOfMinute(start_time) AS minute,
    service,
    {{service_sums}}
FROM {{database}}.spans
WHERE {{counted_start}}
GROUP BY tenant, minute, service
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_to_span_names TO {{database}}.span_names AS
SELECT tenant, toStartOfHour(start_time) AS hour, service, name
FROM {{database}}.spans
WHERE {{counted_start}}
GROUP BY tenant, hour, service, name
;

-- From which instant on the tables above know every span: none in a new database, and in one that has spans the second hour after the newest
-- of these, for an insert may be under way. What starts later by far than now is of a clock that is wrong, and not waited for.
CREATE TABLE IF NOT EXISTS {{database}}.tael_counted_since (since DateTime64(9, 'UTC')) ENGINE = {{engine}} ORDER BY since
;

INSERT INTO {{database}}.tael_counted_since
SELECT if(count() = 0, toDateTime64(0, 9, 'UTC'), toStartOfHour(max(start_time)) + INTERVAL 2 HOUR)
FROM {{database}}.spans
WHERE start_time < now() + INTERVAL 1 DAY
;
