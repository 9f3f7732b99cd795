-- What a resource or a scope says stands once a part, in dictionaries, and not once a row; and the landing pair that fills them so.
-- A column that has its type already is left alone, so the statements can be repeated; parts written before are converted when they are read,
-- and rewritten in the background.

ALTER TABLE {{database}}.spans
    MODIFY COLUMN IF EXISTS resource_string Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS resource_int Map(LowCardinality(String), Int64) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS resource_double Map(LowCardinality(String), Float64) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS resource_bool Map(LowCardinality(String), Bool) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS resource_other Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS scope_string Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS scope_other Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4)
;

ALTER TABLE {{database}}.logs
    MODIFY COLUMN IF EXISTS resource_string Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS resource_int Map(LowCardinality(String), Int64) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS resource_double Map(LowCardinality(String), Float64) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS resource_bool Map(LowCardinality(String), Bool) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS resource_other Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS scope_string Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4),
    MODIFY COLUMN IF EXISTS scope_other Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4)
;

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_3 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_3_to_spans TO {{database}}.spans AS
{{spans_in_3_select}}
;

CREATE TABLE IF NOT EXISTS {{database}}.logs_in_2 ({{logs_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.logs_in_2_to_logs TO {{database}}.logs AS
{{logs_in_2_select}}
;
