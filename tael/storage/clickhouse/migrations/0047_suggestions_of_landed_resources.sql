-- What autocomplete reads of resources and scopes is found where items land, before they are unfolded, and the labels of streams are computed once a
-- resource: an aggregate over rows unpacked what they share too. A rolling table is like its hot table.

ALTER TABLE {{database}}.logs ADD COLUMN IF NOT EXISTS stream_labels {{labels_type}} DEFAULT {{labels_of_row}} CODEC(LZ4)
;

ALTER TABLE {{database}}.logs_rolling ADD COLUMN IF NOT EXISTS stream_labels {{labels_type}} DEFAULT {{labels_of_row}} CODEC(LZ4)
;

CREATE TABLE IF NOT EXISTS {{database}}.logs_in_3 ({{logs_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.logs_in_3_to_logs TO {{database}}.logs AS
{{logs_in_3_select}}
;

ALTER TABLE {{database}}.logs_to_log_streams MODIFY QUERY
SELECT tenant, stream, toStartOfHour(timestamp) AS hour, CAST(any(stream_labels), 'Map(String, String)') AS labels, count() AS records, sum(length(body)) AS bytes
FROM {{database}}.logs
GROUP BY tenant, stream, hour
;

ALTER TABLE {{database}}.spans_to_span_attribute_keys MODIFY QUERY
SELECT
    tenant,
    toStartOfHour(start_time) AS hour,
    {{own_span_keys_select}}
FROM {{database}}.spans
WHERE {{suggested_rows}}
GROUP BY tenant, hour
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_5_to_span_attribute_keys TO {{database}}.span_attribute_keys AS
{{shared_span_keys_select}}
;

ALTER TABLE {{database}}.logs_to_log_attribute_keys MODIFY QUERY
SELECT
    tenant,
    toStartOfHour(timestamp) AS hour,
    {{own_log_keys_select}}
FROM {{database}}.logs
WHERE {{suggested_rows}}
GROUP BY tenant, hour
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.logs_in_3_to_log_attribute_keys TO {{database}}.log_attribute_keys AS
{{shared_log_keys_select}}
;
