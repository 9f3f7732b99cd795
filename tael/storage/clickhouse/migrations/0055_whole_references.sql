-- Whether the index of references knows everything that refers to a payload (docs/adr/0025). `empty`: the index was there, and no row that could refer to
-- a payload. `whole`: after that the shard's cold tier was empty, too, so nothing is older than the index.

CREATE TABLE IF NOT EXISTS {{database}}.tael_known_references
(
    fact LowCardinality(String),
    at DateTime64(9, 'UTC')
)
ENGINE = {{replacing_engine}}
ORDER BY (fact, at)
;

INSERT INTO {{database}}.tael_known_references
SELECT 'empty', now64(9)
WHERE (SELECT count() FROM {{database}}.spans) + (SELECT count() FROM {{database}}.spans_rolling) = 0
AND (SELECT count() FROM {{database}}.logs) + (SELECT count() FROM {{database}}.logs_rolling) = 0
-- A replica may have no rows yet because it has just been added.
AND (SELECT count() FROM system.replicas WHERE database = '{{database}}') = 0
;
