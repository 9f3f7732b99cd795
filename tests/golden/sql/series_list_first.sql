SELECT any(series), mapSort(labels) AS own
FROM tael.series
WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC') AND metric_name = {value_0:String} AND match(labels[{label_1:String}], {value_1:String}) AND labels[{label_2:String}] != {value_2:String} AND NOT match(labels[{label_3:String}], {value_3:String})
GROUP BY own
ORDER BY own
LIMIT {limit:UInt64}

-- limit = 7
-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- value_0 = 'up'
-- label_1 = 'job'
-- value_1 = '^(?s:api|web)$'
-- label_2 = 'zone'
-- value_2 = ''
-- label_3 = 'path'
-- value_3 = '^(?s:/x.*)$'
