-- More groups of columns that are empty in most spans, of resources and scopes above all (docs/adr/0028). For older rows it is computed when they are read, until
-- a merge writes it. A rolling table is like its hot table.

ALTER TABLE {{database}}.spans
    ADD COLUMN IF NOT EXISTS more_empty_groups UInt8 DEFAULT {{more_empty_groups}} CODEC(LZ4)
;

ALTER TABLE {{database}}.spans_rolling
    ADD COLUMN IF NOT EXISTS more_empty_groups UInt8 DEFAULT {{more_empty_groups}} CODEC(LZ4)
;
