-- A view that was changed by MODIFY QUERY writes under its name until the server restarts, and under its id from then on: what it had written before was not
-- recognised when the insert was repeated after a restart, and was counted twice. A renamed view writes under its id at once, also when its name is the old one.

RENAME TABLE IF EXISTS {{database}}.logs_to_log_streams TO {{database}}.logs_to_log_streams_renamed
;

RENAME TABLE IF EXISTS {{database}}.logs_to_log_streams_renamed TO {{database}}.logs_to_log_streams
;

RENAME TABLE IF EXISTS {{database}}.logs_to_log_attribute_keys TO {{database}}.logs_to_log_attribute_keys_renamed
;

RENAME TABLE IF EXISTS {{database}}.logs_to_log_attribute_keys_renamed TO {{database}}.logs_to_log_attribute_keys
;

RENAME TABLE IF EXISTS {{database}}.spans_to_span_attribute_keys TO {{database}}.spans_to_span_attribute_keys_renamed
;

RENAME TABLE IF EXISTS {{database}}.spans_to_span_attribute_keys_renamed TO {{database}}.spans_to_span_attribute_keys
;
