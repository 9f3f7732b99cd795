-- The landing table whose columns of LLM calls are read from version 3 of the dialects (tael/otlp/dialects.toml): sessions, users and cache tokens
-- of LangSmith and MLflow. The one before stays for writers of the version before; it leaves those empty.

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_4 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_4_to_spans TO {{database}}.spans AS
{{spans_in_4_select}}
;
