SELECT series, timeSeriesPredictLinearToGrid(fromUnixTimestamp64Milli(1790000000000, 'UTC'), fromUnixTimestamp64Milli(1790003600000, 'UTC'), toDecimal64('15.000', 3), toDecimal64('60.500', 3), -3.5)(ts, value) AS grid
FROM tael.samples FINAL
PREWHERE tenant = {tenant:String} AND metric = {metric:UInt64} AND ts > fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND ts <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
WHERE reinterpretAsUInt64(value) != 0x7FF0000000000002
GROUP BY series
HAVING arrayExists(v -> isNotNull(v), grid)
SETTINGS do_not_merge_across_partitions_select_final = 1

-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- value_0 = 'up'
-- metric = 15936427031111332196
-- start = 1789999939500
-- end = 1790003600000
