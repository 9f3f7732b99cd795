-- The index of resources' values over hashes, which are computed once a resource and kept beside each row: over the values themselves it unpacked a resource
-- for every row of an insert and of a merge (docs/adr/0020). What older landing pairs write and older parts hold is computed from the resource.

ALTER TABLE {{database}}.spans
    ADD COLUMN IF NOT EXISTS resource_value_hashes Array(UInt32) DEFAULT {{resource_value_hashes}} CODEC(LZ4),
    DROP INDEX IF EXISTS by_resource_value,
    ADD INDEX IF NOT EXISTS by_resource_value_hash resource_value_hashes TYPE bloom_filter(0.025) GRANULARITY 1
;

ALTER TABLE {{database}}.spans_rolling
    ADD COLUMN IF NOT EXISTS resource_value_hashes Array(UInt32) DEFAULT {{resource_value_hashes}} CODEC(LZ4),
    DROP INDEX IF EXISTS by_resource_value,
    ADD INDEX IF NOT EXISTS by_resource_value_hash resource_value_hashes TYPE bloom_filter(0.025) GRANULARITY 1
;

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_5 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_5_to_spans TO {{database}}.spans AS
{{spans_in_5_select}}
;
