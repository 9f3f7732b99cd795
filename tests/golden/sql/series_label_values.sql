SELECT DISTINCT labels[{label:String}] AS found
FROM tael.series
WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC') AND metric_name = {value_0:String} AND found != ''
ORDER BY found
LIMIT {limit:UInt64}

-- label = 'job'
-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- value_0 = 'up'
-- limit = 10
