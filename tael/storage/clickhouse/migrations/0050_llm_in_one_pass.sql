-- The landing table whose columns of LLM calls are read from version 5 of the dialects (tael/otlp/dialects.toml), in one pass over a span's attributes: a cost
-- that is told by its parts alone is their sum, what is negative says nothing, and sessions of Google ADK are read. The table before stays for writers of the
-- version before.

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_6 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_6_to_spans TO {{database}}.spans AS
{{spans_in_6_select}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_6_to_span_attribute_keys TO {{database}}.span_attribute_keys AS
{{spans_in_6_keys_select}}
;
