-- Where hours of payloads are on their way to the cold tier: see 0020.

CREATE TABLE IF NOT EXISTS {{database}}.payloads_rolling AS {{database}}.payloads
ENGINE = {{replacing_engine}}
PARTITION BY hour
ORDER BY (tenant, hash, offset)
SETTINGS {{settings}}, index_granularity_bytes = 65536
;
