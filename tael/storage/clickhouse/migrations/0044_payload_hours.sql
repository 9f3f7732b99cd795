-- The hours that have a payload: what is asked for by its hash alone is looked up here, and one file of the cold tier is opened.

CREATE TABLE IF NOT EXISTS {{database}}.payload_hours
(
    tenant LowCardinality(String),
    hash FixedString(32) CODEC(NONE),
    hour DateTime('UTC') CODEC(Delta, LZ4),
    received_at DateTime64(9, 'UTC') CODEC(Delta, LZ4)
)
ENGINE = {{replacing_engine}}
PARTITION BY toStartOfDay(hour)
ORDER BY (tenant, hash, hour)
SETTINGS {{settings}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.payloads_to_payload_hours TO {{database}}.payload_hours AS
SELECT tenant, hash, hour, max(received_at) AS received_at
FROM {{database}}.payloads
GROUP BY tenant, hash, hour
;

INSERT INTO {{database}}.payload_hours
SELECT tenant, hash, hour, max(received_at)
FROM {{database}}.payloads
GROUP BY tenant, hash, hour
;
