SELECT service, toUnixTimestamp64Nano(start_time), trace_id, span_id, empty_groups + 256 * more_empty_groups
FROM (
  SELECT service, start_time, trace_id, span_id, empty_groups, more_empty_groups FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND status_code = {p3:Int64}
  AND (start_time < fromUnixTimestamp64Nano({after:Int64}, 'UTC') OR (start_time = fromUnixTimestamp64Nano({after:Int64}, 'UTC')
    AND (hex(trace_id), hex(span_id)) > ({after_trace:String}, {after_span:String})))
  AND (attributes_string[{p8:String}] = {p9:String} OR (indexHint(has(resource_value_hashes, xxHash32({p9:String}))) AND resource_string[{p8:String}] = {p9:String}))
  UNION ALL
  SELECT service, start_time, trace_id, span_id, empty_groups, more_empty_groups FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND status_code = {p3:Int64}
  AND (start_time < fromUnixTimestamp64Nano({after:Int64}, 'UTC') OR (start_time = fromUnixTimestamp64Nano({after:Int64}, 'UTC')
    AND (hex(trace_id), hex(span_id)) > ({after_trace:String}, {after_span:String})))
  AND (attributes_int[{p10:String}] = {p11:Int64} OR attributes_double[{p10:String}] = {p12:Float64})
  UNION ALL
  SELECT service, start_time, trace_id, span_id, empty_groups, more_empty_groups FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND status_code = {p3:Int64}
  AND (start_time < fromUnixTimestamp64Nano({after:Int64}, 'UTC') OR (start_time = fromUnixTimestamp64Nano({after:Int64}, 'UTC')
    AND (hex(trace_id), hex(span_id)) > ({after_trace:String}, {after_span:String})))
  AND (resource_int[{p13:String}] = {p14:Int64} OR resource_double[{p13:String}] = {p15:Float64})
)
ORDER BY start_time DESC, trace_id, span_id
LIMIT {limit:UInt64}
SETTINGS use_top_k_dynamic_filtering = 0

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- p3 = 2
-- after = 1790000000000000007
-- after_trace = '74747474747474747474747474747474'
-- after_span = '7373737373737373'
-- limit = 100
-- p8 = 'n'
-- p9 = '5'
-- p10 = 'n'
-- p11 = 5
-- p12 = 5.0
-- p13 = 'n'
-- p14 = 5
-- p15 = 5.0
