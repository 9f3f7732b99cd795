-- A landing table whose time to the first token is also known where only the time of that token was sent, as by Langfuse. The table before it stays for writers of the
-- version before.

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_9 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_9_to_spans TO {{database}}.spans AS
{{spans_in_9_select}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_9_to_span_attribute_keys TO {{database}}.span_attribute_keys AS
{{spans_in_9_keys_select}}
;
