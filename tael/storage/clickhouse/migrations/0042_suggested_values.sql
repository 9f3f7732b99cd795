-- What autocomplete reads is what was sent in small inserts, whole, and of large ones a part; of a key that has many values in an insert none is kept,
-- so that they do not take the place of others. Keys of events and links whose values are no strings are kept too.

ALTER TABLE {{database}}.span_attribute_keys
    ADD COLUMN IF NOT EXISTS event_other_keys {{attribute_keys_type}},
    ADD COLUMN IF NOT EXISTS link_other_keys {{attribute_keys_type}}
;

ALTER TABLE {{database}}.spans_to_span_attribute_keys MODIFY QUERY
SELECT
    tenant,
    toStartOfHour(start_time) AS hour,
    {{span_keys_select}}
FROM {{database}}.spans
WHERE {{suggested_rows}}
GROUP BY tenant, hour
;

ALTER TABLE {{database}}.logs_to_log_attribute_keys MODIFY QUERY
SELECT
    tenant,
    toStartOfHour(timestamp) AS hour,
    {{log_keys_select}}
FROM {{database}}.logs
WHERE {{suggested_rows}}
GROUP BY tenant, hour
;
