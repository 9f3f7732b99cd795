SELECT service, toUnixTimestamp64Nano(start_time), trace_id, span_id, empty_groups + 256 * more_empty_groups
FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND position(name, {p3:String}) > 0
  AND (service, name) IN (
    SELECT service, name FROM tael.span_names
    WHERE tenant = {tenant:String}
  AND hour >= toStartOfHour(fromUnixTimestamp64Nano({first_hour:Int64}, 'UTC'))
  AND hour <= toStartOfHour(fromUnixTimestamp64Nano({last_hour:Int64}, 'UTC'))
  AND position(name, {p6:String}) > 0
  )
ORDER BY start_time DESC, trace_id, span_id
LIMIT {limit:UInt64}
SETTINGS use_top_k_dynamic_filtering = 0

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- p3 = 'GET'
-- first_hour = 1790000000000000000
-- last_hour = 1790003600000000000
-- p6 = 'GET'
-- limit = 100
