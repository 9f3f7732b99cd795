SELECT series, ts, value
FROM tael.samples
WHERE tenant = {tenant:String} AND metric = {metric:UInt64} AND ts > fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND ts <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
LIMIT {limit:UInt64}

-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- value_0 = 'up'
-- metric = 15936427031111332196
-- start = 1790000000000
-- end = 1790003600000
-- limit = 1001
