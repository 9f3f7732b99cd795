-- What is empty in all spans of a trace, next to where it is: its spans are fetched without looking for them first (docs/adr/0028). Of older rows nothing is
-- known, so 0; and of a trace that has any of them. A view of its own and not a changed one: repeats of what a changed view had written before a restart are
-- not recognised after it. Between the two statements both views write, which none of the aggregates minds.

ALTER TABLE {{database}}.trace_index
    ADD COLUMN IF NOT EXISTS empty_in_all SimpleAggregateFunction(groupBitAnd, UInt16) CODEC(LZ4)
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.spans_to_trace_index_2 TO {{database}}.trace_index AS
SELECT
    tenant, trace_id, toStartOfHour(start_time) AS hour, min(start_time) AS first_start, max(start_time) AS last_start,
    groupBitAnd(toUInt16({{empty_mask}})) AS empty_in_all
FROM {{database}}.spans
GROUP BY tenant, trace_id, hour
;

DROP VIEW IF EXISTS {{database}}.spans_to_trace_index
;
