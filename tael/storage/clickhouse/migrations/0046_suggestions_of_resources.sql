-- What autocomplete reads of resources and scopes is made of the different ones of an insert, and no longer of each row's copy.

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
