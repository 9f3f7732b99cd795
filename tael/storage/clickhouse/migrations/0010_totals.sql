-- Running totals of increments know the batch of the WAL that they include (proto/metrics.proto, TotalBatch), so that a batch that is written
-- again adds nothing. Every other sample has 0.

ALTER TABLE {{database}}.samples ADD COLUMN IF NOT EXISTS batch UInt64 DEFAULT 0 CODEC(ZSTD(1))
;

ALTER TABLE {{database}}.histograms ADD COLUMN IF NOT EXISTS batch UInt64 DEFAULT 0 CODEC(ZSTD(1))
;

CREATE TABLE IF NOT EXISTS {{database}}.totals_in_1 ({{totals_in_1_columns}}) ENGINE = Null
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.totals_in_1_to_samples TO {{database}}.samples AS
SELECT batch_tenant AS tenant, metric, series, fromUnixTimestamp64Milli(time_ms, 'UTC') AS ts, value, batch
FROM
(
    SELECT batch_tenant, metric_ids, series_ids, times, sample_values, batches
    FROM {{database}}.totals_in_1
    ARRAY JOIN
        records.tenant AS batch_tenant,
        records.request.metric AS metric_ids,
        records.request.series AS series_ids,
        records.request.time_ms AS times,
        records.request.value AS sample_values,
        records.request.batch AS batches
)
ARRAY JOIN metric_ids AS metric, series_ids AS series, times AS time_ms, sample_values AS value, batches AS batch
;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.totals_in_1_to_histograms TO {{database}}.histograms AS
SELECT
    batch_tenant AS tenant,
    h.metric AS metric,
    h.series AS series,
    fromUnixTimestamp64Milli(h.time_ms, 'UTC') AS ts,
    h.schema AS schema,
    h.count AS count,
    h.sum AS sum,
    h.zero_threshold AS zero_threshold,
    h.zero_count AS zero_count,
    h.positive_index AS positive_index,
    h.positive_counts AS positive_counts,
    h.negative_index AS negative_index,
    h.negative_counts AS negative_counts,
    h.custom_bounds AS custom_bounds,
    toUInt8(h.reset_hint) AS reset_hint,
    batch
FROM
(
    SELECT batch_tenant, items, batches
    FROM {{database}}.totals_in_1
    ARRAY JOIN
        records.tenant AS batch_tenant,
        records.request.histograms AS items,
        records.request.histogram_batch AS batches
)
ARRAY JOIN items AS h, batches AS batch
;
