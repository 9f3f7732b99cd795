SELECT service, toUnixTimestamp64Nano(timestamp), serial
FROM tael.logs
WHERE tenant = {tenant:String}
  AND timestamp >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND stream IN (SELECT stream FROM tael.log_streams WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC') AND labels[{label_0:String}] = {value_0:String} AND match(labels[{label_1:String}], {value_1:String}))
  AND service = {service:String}
ORDER BY toStartOfHour(timestamp) DESC, timestamp DESC, serial
LIMIT {limit:UInt64}

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- first_hour = 1789999200
-- last_hour = 1790002800
-- label_0 = 'service.name'
-- value_0 = 'shop'
-- label_1 = 'k8s.pod.name'
-- value_1 = '^(?s:cart-.+)$'
-- service = 'shop'
-- limit = 100
