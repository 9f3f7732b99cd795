SELECT DISTINCT name
FROM tael.span_names
WHERE tenant = {tenant:String}
  AND hour >= toStartOfHour(fromUnixTimestamp64Nano({first_hour:Int64}, 'UTC'))
  AND hour <= toStartOfHour(fromUnixTimestamp64Nano({last_hour:Int64}, 'UTC'))
ORDER BY name
LIMIT {limit:UInt64}

-- tenant = 't1'
-- first_hour = 1790000000000000000
-- last_hour = 1790003600000000000
-- limit = 9
