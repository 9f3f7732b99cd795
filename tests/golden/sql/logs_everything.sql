SELECT service, toUnixTimestamp64Nano(timestamp), serial
FROM tael.logs
WHERE tenant = {tenant:String}
  AND trace_id = toFixedString(unhex({p1:String}), 16)
  AND span_id = toFixedString(unhex({p2:String}), 8)
  AND toInt8(level) = {p3:Int64}
  AND (attributes_string[{p4:String}] = {p5:String} OR resource_string[{p4:String}] = {p5:String})
  AND hasAllTokens(body, {p6:Array(String)})
  AND (hasAllTokens(body, {p8:Array(String)}) AND positionCaseInsensitiveUTF8(body, {p7:String}) > 0)
  AND (timestamp < fromUnixTimestamp64Nano({after:Int64}, 'UTC') OR (timestamp = fromUnixTimestamp64Nano({after:Int64}, 'UTC') AND serial > {after_serial:UInt64}))
ORDER BY timestamp DESC, serial
LIMIT {limit:UInt64}

-- tenant = 't1'
-- p1 = '74747474747474747474747474747474'
-- p2 = '7373737373737373'
-- p3 = 5
-- p4 = 'user'
-- p5 = 'ann'
-- p6 = ['refused', 'retry']
-- p7 = 'db: Connection refused, by'
-- p8 = ['connection', 'refused']
-- after = 1790000000000000007
-- after_serial = 9
-- limit = 100
