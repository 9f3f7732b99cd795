-- A landing table whose columns of LLM calls know what a span is where no attribute names its operation (Google ADK's call_llm, Pydantic AI's agents), tools and agents
-- by what their span stands for, and usage of Langfuse's in more forms. The table before it stays for writers of the version before.

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_8 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_8_to_spans TO {{database}}.spans AS
{{spans_in_8_select}}
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_8_to_span_attribute_keys TO {{database}}.span_attribute_keys AS
{{spans_in_8_keys_select}}
;
