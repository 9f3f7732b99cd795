-- The landing table whose view finds the columns of LLM calls in one pass over a span's attributes. Its rows are those of the one before, which stays for writers
-- of the version before.

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_7 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_7_to_spans TO {{database}}.spans AS
{{spans_in_7_select}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_7_to_span_attribute_keys TO {{database}}.span_attribute_keys AS
{{spans_in_7_keys_select}}
;
