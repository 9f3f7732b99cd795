SELECT series, timeSeriesLastToGrid(fromUnixTimestamp64Milli(-1, 'UTC'), fromUnixTimestamp64Milli(-1, 'UTC'), toDecimal64('0.001', 3), toDecimal64('0.001', 3))(ts, value) AS grid
FROM tael.samples FINAL
PREWHERE tenant = {tenant:String} AND metric = {metric:UInt64} AND ts <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
GROUP BY series
HAVING arrayExists(v -> isNotNull(v), grid)
SETTINGS do_not_merge_across_partitions_select_final = 1

-- tenant = 't1'
-- first_hour = 0
-- last_hour = 0
-- value_0 = 'up'
-- metric = 15936427031111332196
-- end = -1
