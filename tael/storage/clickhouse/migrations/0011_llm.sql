-- More of what a span of an LLM call says (tael/otlp/dialects.toml), and the landing table that fills it. The first one stays for writers of the
-- version before; it leaves these columns empty.

ALTER TABLE {{database}}.spans
    ADD COLUMN IF NOT EXISTS llm_response_model LowCardinality(String) CODEC(LZ4),
    ADD COLUMN IF NOT EXISTS llm_cache_read_tokens Nullable(Int64) CODEC(LZ4),
    ADD COLUMN IF NOT EXISTS llm_cache_write_tokens Nullable(Int64) CODEC(LZ4),
    ADD COLUMN IF NOT EXISTS llm_reasoning_tokens Nullable(Int64) CODEC(LZ4),
    ADD COLUMN IF NOT EXISTS llm_session_id String CODEC(LZ4),
    ADD COLUMN IF NOT EXISTS llm_user_id String CODEC(LZ4),
    ADD COLUMN IF NOT EXISTS llm_agent_name LowCardinality(String) CODEC(LZ4),
    ADD COLUMN IF NOT EXISTS llm_tool_name LowCardinality(String) CODEC(LZ4)
;

CREATE TABLE IF NOT EXISTS {{database}}.spans_in_2 ({{spans_in_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_in_2_to_spans TO {{database}}.spans AS
{{spans_in_2_select}}
;
