-- Which attribute keys there are, by hour, with some of their values: what autocomplete reads (docs/formats.md). Arrays of one key are united
-- when parts are merged; a reader unites them again.

CREATE TABLE IF NOT EXISTS {{database}}.span_attribute_keys
(
    tenant LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    {{span_key_columns}},
    {{attribute_value_columns}}
)
ENGINE = {{aggregating_engine}}
PARTITION BY hour
ORDER BY (tenant, hour)
SETTINGS {{settings}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_to_span_attribute_keys TO {{database}}.span_attribute_keys AS
SELECT
    tenant,
    toStartOfHour(start_time) AS hour,
    {{span_keys_select}}
FROM {{database}}.spans
WHERE rowNumberInBlock() % {{one_row_in}} = 0
GROUP BY tenant, hour
;

CREATE TABLE IF NOT EXISTS {{database}}.log_attribute_keys
(
    tenant LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    {{log_key_columns}},
    {{attribute_value_columns}}
)
ENGINE = {{aggregating_engine}}
PARTITION BY hour
ORDER BY (tenant, hour)
SETTINGS {{settings}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.logs_to_log_attribute_keys TO {{database}}.log_attribute_keys AS
SELECT
    tenant,
    toStartOfHour(timestamp) AS hour,
    {{log_keys_select}}
FROM {{database}}.logs
WHERE rowNumberInBlock() % {{one_row_in}} = 0
GROUP BY tenant, hour
;
