SELECT series, ts, schema, count, sum, zero_threshold, zero_count, positive_index, positive_counts, negative_index, negative_counts, custom_bounds, reset_hint
FROM tael.histograms FINAL
PREWHERE tenant = {tenant:String} AND metric = {metric:UInt64} AND ts > fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND ts <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
LIMIT {limit:UInt64}
SETTINGS do_not_merge_across_partitions_select_final = 1

-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- value_0 = 'up'
-- metric = 15936427031111332196
-- start = 1790000000000
-- end = 1790003600000
-- limit = 1001
