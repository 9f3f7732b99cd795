SELECT service, toUnixTimestamp64Nano(timestamp), serial
FROM tael.logs
WHERE tenant = {tenant:String}
  AND timestamp >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
ORDER BY timestamp DESC, serial
LIMIT {limit:UInt64}
SETTINGS use_top_k_dynamic_filtering = 0

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- limit = 100
