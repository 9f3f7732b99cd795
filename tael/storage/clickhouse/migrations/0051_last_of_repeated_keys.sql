-- A landing table whose columns of LLM calls take the last value of an attribute that a span repeats, as everywhere else; of costs that are reported in parts both
-- values were added up. The table before it stays for writers of the version before.

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_7 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_7_to_spans TO {{database}}.spans AS
{{spans_in_7_select}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_7_to_span_attribute_keys TO {{database}}.span_attribute_keys AS
{{spans_in_7_keys_select}}
;
