SELECT series, ts, value
FROM tael.samples
WHERE tenant = {tenant:String} AND (metric, series) IN (SELECT metric, series FROM tael.series WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC') AND match(metric_name, {value_0:String}) AND labels[{label_1:String}] = {value_1:String}) AND ts <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
LIMIT {limit:UInt64}

-- tenant = 't1'
-- first_hour = 0
-- last_hour = 1790002800
-- value_0 = '^(?s:u.*)$'
-- label_1 = 'job'
-- value_1 = 'api'
-- end = 1790003600000
-- limit = 1001
