-- A view that was changed by MODIFY QUERY writes under its name until the server restarts, and under its id from then on: what it had written before was not
-- recognised when the insert was repeated after a restart, and was counted twice. A renamed view writes under its id at once.

RENAME TABLE IF EXISTS {{database}}.logs_to_log_streams TO {{database}}.logs_to_log_streams_2
;

RENAME TABLE IF EXISTS {{database}}.logs_to_log_attribute_keys TO {{database}}.logs_to_log_attribute_keys_2
;

RENAME TABLE IF EXISTS {{database}}.spans_to_span_attribute_keys TO {{database}}.spans_to_span_attribute_keys_2
;
