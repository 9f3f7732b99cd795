-- Where the hours of tables are on their way to the cold tier (docs/adr/0014): a partition is moved there whole, so each table is its twin. A
-- later migration that changes a table on the left changes its twin alike. Nothing is inserted here, so there is no window for tokens.

CREATE TABLE IF NOT EXISTS {{database}}.spans_rolling AS {{database}}.spans
ENGINE = {{engine}}
PARTITION BY toStartOfHour(start_time)
ORDER BY (tenant, service, toStartOfHour(start_time), start_time)
SETTINGS {{settings}}
;

CREATE TABLE IF NOT EXISTS {{database}}.logs_rolling AS {{database}}.logs
ENGINE = {{engine}}
PARTITION BY toStartOfHour(timestamp)
ORDER BY (tenant, service, toStartOfHour(timestamp), timestamp)
SETTINGS {{settings}}
;

CREATE TABLE IF NOT EXISTS {{database}}.samples_rolling AS {{database}}.samples
ENGINE = {{replacing_engine}}
PARTITION BY toStartOfHour(ts)
ORDER BY (tenant, metric, series, ts)
SETTINGS {{merged_settings}}
;

CREATE TABLE IF NOT EXISTS {{database}}.histograms_rolling AS {{database}}.histograms
ENGINE = {{replacing_engine}}
PARTITION BY toStartOfHour(ts)
ORDER BY (tenant, metric, series, ts)
SETTINGS {{merged_settings}}
;

CREATE TABLE IF NOT EXISTS {{database}}.exemplars_rolling AS {{database}}.exemplars
ENGINE = {{replacing_engine}}
PARTITION BY toStartOfHour(ts)
ORDER BY (tenant, metric, series, ts, trace_id, value)
SETTINGS {{settings}}
;

CREATE TABLE IF NOT EXISTS {{database}}.series_rolling AS {{database}}.series
ENGINE = {{replacing_engine}}
PARTITION BY hour
ORDER BY (tenant, metric_name, series)
SETTINGS {{settings}}
;
