SELECT series, end_ms, sum(n), if(isFinite(sumIf(total, 1)), sumKahanIf(total, 1), sumIf(total, 1)), if(countIf(1 AND NOT isNaN(least_)) = 0, nan, minIf(least_, 1 AND NOT isNaN(least_))), sum(resets) + sumIf(before, a < before)
FROM (SELECT *, if(count() OVER (PARTITION BY series, end_ms ORDER BY a_ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) > 0 AND max(z_ts) OVER (PARTITION BY series, end_ms ORDER BY a_ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) < a_ts, argMax(z, z_ts) OVER (PARTITION BY series, end_ms ORDER BY a_ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), nan) AS before
FROM (SELECT series, intDiv(toUnixTimestamp64Milli(ts) - 1789999500000 + 599999, 600000) * 600000 + 1789999500000 AS end_ms, value AS z, if(`count` = 0, toUInt64(1), `count`) AS n, if(`count` = 0, value, `sum`) AS total,
if(`count` = 0, value, `min`) AS least_, if(`count` = 0, value, `max`) AS most, if(`count` = 0, value, `first`) AS a, if(`count` = 0, ts, first_ts) AS a_ts,
if(`count` = 0, ts, last_ts) AS z_ts, before_resets AS resets
FROM (SELECT *, CAST(0, 'UInt64') AS `count`, CAST(0, 'UInt64') AS `stale`, CAST(0, 'Float64') AS `sum`, CAST(0, 'Float64') AS `min`, CAST(0, 'Float64') AS `max`, CAST(0, 'Float64') AS `first`, toDateTime64(0, 3, 'UTC') AS `first_ts`, toDateTime64(0, 3, 'UTC') AS `last_ts`, CAST(0, 'Float64') AS `before_resets` FROM tael.samples FINAL
PREWHERE tenant = {tenant:String} AND metric = {metric:UInt64} AND ts > fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND ts <= fromUnixTimestamp64Milli({end:Int64}, 'UTC'))
WHERE reinterpretAsUInt64(value) != 0x7FF0000000000002 AND (toUnixTimestamp64Milli(ts) - 1789999500000 - 1) % 3600000 < 600000))
GROUP BY series, end_ms
ORDER BY series, end_ms
SETTINGS do_not_merge_across_partitions_select_final = 1

-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790085600
-- value_0 = 'up'
-- metric = 15936427031111332196
-- start = 1789999500000
-- end = 1790086500000
