SELECT DISTINCT labels[{label:String}] AS found
FROM tael.log_streams
WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC') AND labels[{label_0:String}] = {value_0:String} AND match(labels[{label_1:String}], {value_1:String}) AND found != ''
ORDER BY found
LIMIT {limit:UInt64}

-- label = 'k8s.pod.name'
-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- label_0 = 'service.name'
-- value_0 = 'shop'
-- label_1 = 'k8s.pod.name'
-- value_1 = '^(?s:cart-.+)$'
-- limit = 9
