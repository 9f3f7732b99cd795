-- Which granules may have a value among their attributes, or their resources': a search for a rare value reads those alone (docs/adr/0020). Parts that
-- were written before have no such index until they are merged, and are read whole. A rolling table is like its hot table, or partitions could not move.

ALTER TABLE {{database}}.spans
    ADD INDEX IF NOT EXISTS by_attribute_value mapValues(attributes_string) TYPE bloom_filter(0.025) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS by_resource_value mapValues(resource_string) TYPE bloom_filter(0.025) GRANULARITY 1
;

ALTER TABLE {{database}}.spans_rolling
    ADD INDEX IF NOT EXISTS by_attribute_value mapValues(attributes_string) TYPE bloom_filter(0.025) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS by_resource_value mapValues(resource_string) TYPE bloom_filter(0.025) GRANULARITY 1
;
