-- The landing table whose view also reads sessions of Google ADK and what Vercel's AI SDK 6 counts. Its rows are those of the one before, which stays for writers
-- of the version before.

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_8 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_8_to_spans TO {{database}}.spans AS
{{spans_in_8_select}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_8_to_span_attribute_keys TO {{database}}.span_attribute_keys AS
{{spans_in_8_keys_select}}
;
