-- A landing table whose streams have all labels that were pushed to Loki's API, and not only those of the index. The table before it stays for writers of the version
-- before. Where a column of labels is computed, as from files, it has the labels of which the stream's id was made. A rolling table is like its hot table.

ALTER TABLE {{database}}.logs MODIFY COLUMN IF EXISTS stream_labels {{labels_type}} DEFAULT {{labels_of_pushed_row}} CODEC(LZ4)
;

ALTER TABLE {{database}}.logs_rolling MODIFY COLUMN IF EXISTS stream_labels {{labels_type}} DEFAULT {{labels_of_pushed_row}} CODEC(LZ4)
;

CREATE TABLE IF NOT EXISTS {{database}}.logs_in_4 ({{logs_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.logs_in_4_to_logs TO {{database}}.logs AS
{{logs_in_4_select}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.logs_in_4_to_log_attribute_keys TO {{database}}.log_attribute_keys AS
{{logs_in_4_keys_select}}
;
