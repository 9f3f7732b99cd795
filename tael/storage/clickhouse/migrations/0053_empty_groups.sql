-- Which groups of columns are empty in a row: reads of a few spans that lie apart leave those out (docs/adr/0028). For older rows it is computed when they are
-- read, until a merge writes it. And maps of fewer than five keys on average stay in one piece: buckets made them more expensive to merge and to read whole. A
-- rolling table is like its hot table.

ALTER TABLE {{database}}.spans
    ADD COLUMN IF NOT EXISTS empty_groups UInt8 DEFAULT {{empty_groups}} CODEC(LZ4)
;

ALTER TABLE {{database}}.spans_rolling
    ADD COLUMN IF NOT EXISTS empty_groups UInt8 DEFAULT {{empty_groups}} CODEC(LZ4)
;

ALTER TABLE {{database}}.spans
    MODIFY SETTING map_buckets_min_avg_size = 5
;

ALTER TABLE {{database}}.spans_rolling
    MODIFY SETTING map_buckets_min_avg_size = 5
;
