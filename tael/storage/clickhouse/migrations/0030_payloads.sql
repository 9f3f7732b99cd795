-- Large values that spans and log records refer to by their SHA-256, in the hour of what refers to them, and the landing table that fills it.

-- A row is a piece of a payload: what is too large for one entry of the WAL comes in several. The same payload may come from several
-- receivers; of rows with one key one remains.
CREATE TABLE IF NOT EXISTS {{database}}.payloads
(
    tenant LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, LZ4),
    hash FixedString(32) CODEC(NONE),
    offset UInt64 CODEC(LZ4),
    -- Bytes of the whole content.
    size UInt64 CODEC(LZ4),
    content String CODEC(ZSTD(3)),
    received_at DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    INDEX by_word content TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(content))
)
ENGINE = {{replacing_engine}}
PARTITION BY hour
ORDER BY (tenant, hash, offset)
-- Reading one payload reads a granule.
SETTINGS {{settings}}, index_granularity_bytes = 65536
;

CREATE TABLE IF NOT EXISTS {{database}}.payloads_in_1 ({{payloads_in_1_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.payloads_in_1_to_payloads TO {{database}}.payloads AS
SELECT
    batch_tenant AS tenant,
    toDateTime(p.hour, 'UTC') AS hour,
    toFixedString(p.sha256, 32) AS hash,
    p.offset AS offset,
    p.size AS size,
    p.content AS content,
    fromUnixTimestamp64Nano(reinterpretAsInt64(batch_received_at), 'UTC') AS received_at
FROM
(
    SELECT batch_tenant, batch_received_at, items
    FROM {{database}}.payloads_in_1
    ARRAY JOIN records.tenant AS batch_tenant, records.received_at AS batch_received_at, records.request.payloads AS items
)
ARRAY JOIN items AS p
;
