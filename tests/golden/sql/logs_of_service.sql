SELECT service, toUnixTimestamp64Nano(timestamp), serial
FROM tael.logs
WHERE tenant = {tenant:String}
  AND timestamp >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND service = {p3:String}
  AND toInt8(level) >= {p4:Int64}
ORDER BY toStartOfHour(timestamp) DESC, timestamp DESC, serial
LIMIT {limit:UInt64}

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- p3 = 'shop'
-- p4 = 4
-- limit = 20
