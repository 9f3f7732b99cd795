-- What refers to a payload, in the hour of what refers to it: a trace, or a log record outside of traces. A row without an item is the payload itself,
-- so that one look at one table says what is stored and what is needed (docs/adr/0025).

CREATE TABLE IF NOT EXISTS {{database}}.payload_references
(
    tenant LowCardinality(String),
    hash FixedString(32) CODEC(LZ4),
    hour DateTime('UTC') CODEC(Delta, LZ4),
    item FixedString(16) CODEC(LZ4),
    -- When the last of them came: of the same key in parts that were not merged yet, each has its own.
    received_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta, LZ4),
    INDEX by_item item TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = {{aggregating_engine}}
PARTITION BY toStartOfDay(hour)
ORDER BY (tenant, hash, hour, item)
SETTINGS {{settings}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_to_payload_references TO {{database}}.payload_references AS
{{span_references_select}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.logs_to_payload_references TO {{database}}.payload_references AS
{{log_references_select}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.payloads_to_payload_references TO {{database}}.payload_references AS
SELECT tenant, hash, hour, toFixedString('', 16) AS item, max(received_at) AS received_at
FROM {{database}}.payloads
GROUP BY tenant, hash, hour
;

-- The payloads that there were before. What refers to them is not known, so those of hours that began before now are never condemned.
INSERT INTO {{database}}.payload_references
SELECT tenant, hash, hour, toFixedString('', 16) AS item, max(received_at) AS received_at
FROM {{database}}.payload_hours
GROUP BY tenant, hash, hour
;

-- Payloads that nothing referred to at a time (since), to be looked at once more when they are due. The cause is the deletion that took what
-- referred to them, or nothing.
CREATE TABLE IF NOT EXISTS {{database}}.tael_condemned_payloads
(
    tenant String,
    hour DateTime('UTC'),
    hash FixedString(32),
    cause String,
    since DateTime64(9, 'UTC'),
    due DateTime64(9, 'UTC')
)
ENGINE = {{replacing_engine}}
ORDER BY (tenant, hour, hash, cause)
;
