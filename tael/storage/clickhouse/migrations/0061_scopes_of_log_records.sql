-- Which granules have records of a scope: a selector of a label that only pushed streams have reads those with the scope of Loki's push alone. Parts that were
-- written before have no such index until they are merged, and are read whole. A rolling table is like its hot table, or partitions could not move.

ALTER TABLE {{database}}.logs ADD INDEX IF NOT EXISTS by_scope_name scope_name TYPE set(8) GRANULARITY 1
;

ALTER TABLE {{database}}.logs_rolling ADD INDEX IF NOT EXISTS by_scope_name scope_name TYPE set(8) GRANULARITY 1
;
