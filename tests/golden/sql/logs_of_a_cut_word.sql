SELECT service, toUnixTimestamp64Nano(timestamp), serial
FROM tael.logs
WHERE tenant = {tenant:String}
  AND timestamp >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND (hasAllTokens(body, {p4:Array(String)}) AND hasAnyTokens(body, (SELECT groupArray(token) FROM mergeTreeTextIndex('tael', 'logs', 'by_body_word') WHERE toUInt64OrZero(splitByChar('_', part_name)[1]) BETWEEN 1789999200 AND 1790002800 AND startsWith(token, {p5:String}))) AND positionCaseInsensitiveUTF8(body, {p3:String}) > 0)
ORDER BY timestamp DESC, serial
LIMIT {limit:UInt64}
SETTINGS use_top_k_dynamic_filtering = 0

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- p3 = 'one order 1234'
-- p4 = ['order']
-- p5 = '1234'
-- limit = 100
