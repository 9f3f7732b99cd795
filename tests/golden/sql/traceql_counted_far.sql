SELECT DISTINCT hex(trace_id)
FROM tael.trace_index
WHERE tenant = {tenant:String}
  AND hour >= toStartOfHour(fromUnixTimestamp64Nano({first_hour:Int64}, 'UTC'))
  AND hour <= toStartOfHour(fromUnixTimestamp64Nano({last_hour:Int64}, 'UTC'))
  AND (first_start < fromUnixTimestamp64Nano({around_start:Int64}, 'UTC') OR last_start >= fromUnixTimestamp64Nano({around_end:Int64}, 'UTC'))
  AND trace_id IN (SELECT trace_id FROM tael.spans WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND status_code = {p3:Int64})
LIMIT {limit:UInt64}

-- tenant = 't1'
-- first_hour = 1789913300000000000
-- last_hour = 1790090300000000000
-- around_start = 1789999700000000000
-- around_end = 1790003900000000000
-- start = 1790000000000000000
-- end = 1790003600000000000
-- p3 = 2
-- limit = 9
