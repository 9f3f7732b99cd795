-- Which granules have bodies of a type: a line filter whose text a map or an array may have in other words takes every such body, and is looked for by the
-- words of the others (docs/adr/0032). Parts that were written before have no such index until they are merged, and are read whole.

ALTER TABLE {{database}}.logs ADD INDEX IF NOT EXISTS by_body_type toString(body_type) TYPE set(8) GRANULARITY 1
;

ALTER TABLE {{database}}.logs_rolling ADD INDEX IF NOT EXISTS by_body_type toString(body_type) TYPE set(8) GRANULARITY 1
;
