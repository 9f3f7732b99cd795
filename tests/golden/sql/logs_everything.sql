SELECT service, toUnixTimestamp64Nano(timestamp), serial
FROM tael.logs
WHERE tenant = {tenant:String}
  AND toInt8(level) = {level:Int8}
  AND trace_id = toFixedString(unhex({trace_id:String}), 16)
  AND span_id = toFixedString(unhex({span_id:String}), 8)
  AND (attributes_string[{key_0:String}] = {string_0:String} OR resource_string[{key_0:String}] = {string_0:String})
  AND hasAllTokens(body, {inner_words:Array(String)})
  AND positionCaseInsensitiveUTF8(body, {body_contains:String}) > 0
  AND hasAllTokens(body, {words:String})
  AND (timestamp < fromUnixTimestamp64Nano({after:Int64}, 'UTC') OR (timestamp = fromUnixTimestamp64Nano({after:Int64}, 'UTC') AND serial > {after_serial:UInt64}))
ORDER BY timestamp DESC, serial
LIMIT {limit:UInt64}

-- tenant = 't1'
-- level = 5
-- trace_id = '74747474747474747474747474747474'
-- span_id = '7373737373737373'
-- key_0 = 'user'
-- string_0 = 'ann'
-- inner_words = ['connection', 'refused']
-- body_contains = 'db: Connection refused, by'
-- words = 'refused retry'
-- after = 1790000000000000007
-- after_serial = 9
-- limit = 100
