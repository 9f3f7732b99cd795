-- Metrics as Prometheus series: samples, native histograms, exemplars, the series themselves and the families' metadata, and the landing
-- table whose materialized views fill them. `metric` is xxh3 of the name, `series` xxh3 of tenant and labels (docs/formats.md).
-- Of rows with one key the last inserted wins; a reader that must not see the others before they are merged away says FINAL.

CREATE TABLE IF NOT EXISTS {{database}}.samples
(
    tenant LowCardinality(String),
    metric UInt64 CODEC(ZSTD(1)),
    series UInt64 CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    value Float64 CODEC(Gorilla, ZSTD(1))
)
ENGINE = {{replacing_engine}}
PARTITION BY toStartOfHour(ts)
ORDER BY (tenant, metric, series, ts)
SETTINGS {{merged_settings}}
;

-- Counts are absolute for each bucket. The bits 0x7FF0000000000002 in `sum` end a series, as they do in a sample's value.
CREATE TABLE IF NOT EXISTS {{database}}.histograms
(
    tenant LowCardinality(String),
    metric UInt64 CODEC(ZSTD(1)),
    series UInt64 CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    schema Int32 CODEC(ZSTD(1)),
    count Float64 CODEC(ZSTD(1)),
    sum Float64 CODEC(ZSTD(1)),
    zero_threshold Float64 CODEC(ZSTD(1)),
    zero_count Float64 CODEC(ZSTD(1)),
    positive_index Array(Int32) CODEC(ZSTD(1)),
    positive_counts Array(Float64) CODEC(ZSTD(1)),
    negative_index Array(Int32) CODEC(ZSTD(1)),
    negative_counts Array(Float64) CODEC(ZSTD(1)),
    custom_bounds Array(Float64) CODEC(ZSTD(1)),
    reset_hint UInt8 CODEC(ZSTD(1))
)
ENGINE = {{replacing_engine}}
PARTITION BY toStartOfHour(ts)
ORDER BY (tenant, metric, series, ts)
SETTINGS {{merged_settings}}
;

-- `labels` are the exemplar's own, trace_id and span_id (hex) among them; `trace_id` is the same id as 16 bytes, empty where there is none.
CREATE TABLE IF NOT EXISTS {{database}}.exemplars
(
    tenant LowCardinality(String),
    metric UInt64 CODEC(ZSTD(1)),
    series UInt64 CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    value Float64 CODEC(ZSTD(1)),
    labels Map(LowCardinality(String), String) CODEC(ZSTD(1))
)
ENGINE = {{replacing_engine}}
PARTITION BY toStartOfHour(ts)
ORDER BY (tenant, metric, series, ts, trace_id, value)
SETTINGS {{settings}}
;

-- A series stands in each hour that it has samples of, native histograms or exemplars in; `labels` hold `__name__` too.
CREATE TABLE IF NOT EXISTS {{database}}.series
(
    tenant LowCardinality(String),
    metric_name LowCardinality(String) CODEC(ZSTD(1)),
    metric UInt64 CODEC(ZSTD(1)),
    series UInt64 CODEC(ZSTD(1)),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    labels Map(LowCardinality(String), String) CODEC(ZSTD(1))
)
ENGINE = {{replacing_engine}}
PARTITION BY hour
ORDER BY (tenant, metric_name, series)
SETTINGS {{settings}}
;

-- What was said of a family in each hour of arrival; sources may differ.
CREATE TABLE IF NOT EXISTS {{database}}.metric_families
(
    tenant LowCardinality(String),
    name LowCardinality(String) CODEC(ZSTD(1)),
    type LowCardinality(String) CODEC(ZSTD(1)),
    unit LowCardinality(String) CODEC(ZSTD(1)),
    help String CODEC(ZSTD(1)),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = {{replacing_engine}}
PARTITION BY hour
ORDER BY (tenant, name, type, unit, help)
SETTINGS {{settings}}
;

CREATE TABLE IF NOT EXISTS {{database}}.metrics_in_1 ({{metrics_in_1_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.metrics_in_1_to_samples TO {{database}}.samples AS
SELECT batch_tenant AS tenant, metric, series, fromUnixTimestamp64Milli(time_ms, 'UTC') AS ts, value
FROM
(
    SELECT batch_tenant, metric_ids, series_ids, times, sample_values
    FROM {{database}}.metrics_in_1
    ARRAY JOIN
        records.tenant AS batch_tenant,
        records.request.metric AS metric_ids,
        records.request.series AS series_ids,
        records.request.time_ms AS times,
        records.request.value AS sample_values
)
ARRAY JOIN metric_ids AS metric, series_ids AS series, times AS time_ms, sample_values AS value
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.metrics_in_1_to_histograms TO {{database}}.histograms AS
SELECT
    batch_tenant AS tenant,
    h.metric AS metric,
    h.series AS series,
    fromUnixTimestamp64Milli(h.time_ms, 'UTC') AS ts,
    h.schema AS schema,
    h.count AS count,
    h.sum AS sum,
    h.zero_threshold AS zero_threshold,
    h.zero_count AS zero_count,
    h.positive_index AS positive_index,
    h.positive_counts AS positive_counts,
    h.negative_index AS negative_index,
    h.negative_counts AS negative_counts,
    h.custom_bounds AS custom_bounds,
    toUInt8(h.reset_hint) AS reset_hint
FROM
(
    SELECT batch_tenant, arrayJoin(items) AS h
    FROM (SELECT batch_tenant, items FROM {{database}}.metrics_in_1 ARRAY JOIN records.tenant AS batch_tenant, records.request.histograms AS items)
)
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.metrics_in_1_to_exemplars TO {{database}}.exemplars AS
SELECT
    batch_tenant AS tenant,
    e.metric AS metric,
    e.series AS series,
    fromUnixTimestamp64Milli(e.time_ms, 'UTC') AS ts,
    e.trace_id AS trace_id,
    e.value AS value,
    mapFromArrays(e.label_names, e.label_values)::Map(LowCardinality(String), String) AS labels
FROM
(
    SELECT batch_tenant, arrayJoin(items) AS e
    FROM (SELECT batch_tenant, items FROM {{database}}.metrics_in_1 ARRAY JOIN records.tenant AS batch_tenant, records.request.exemplars AS items)
)
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.metrics_in_1_to_series TO {{database}}.series AS
SELECT
    batch_tenant AS tenant,
    labels['__name__'] AS metric_name,
    s.metric AS metric,
    s.series AS series,
    toDateTime(s.hour, 'UTC') AS hour,
    mapFromArrays(s.label_names, s.label_values)::Map(LowCardinality(String), String) AS labels
FROM
(
    SELECT batch_tenant, arrayJoin(items) AS s
    FROM (SELECT batch_tenant, items FROM {{database}}.metrics_in_1 ARRAY JOIN records.tenant AS batch_tenant, records.request.new_series AS items)
)
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.metrics_in_1_to_metric_families TO {{database}}.metric_families AS
SELECT batch_tenant AS tenant, f.name AS name, f.type AS type, f.unit AS unit, f.help AS help, toDateTime(f.hour, 'UTC') AS hour
FROM
(
    SELECT batch_tenant, arrayJoin(items) AS f
    FROM (SELECT batch_tenant, items FROM {{database}}.metrics_in_1 ARRAY JOIN records.tenant AS batch_tenant, records.request.families AS items)
)
;
