SELECT series, toUnixTimestamp64Milli(ts), value, labels
FROM tael.exemplars FINAL
PREWHERE tenant = {tenant:String} AND metric = {metric:UInt64} AND ts > fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND ts <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
ORDER BY metric, series, ts
LIMIT {limit:UInt64}
SETTINGS do_not_merge_across_partitions_select_final = 1

-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- value_0 = 'up'
-- metric = 15936427031111332196
-- start = 1789999999999
-- end = 1790003600000
-- limit = 100
