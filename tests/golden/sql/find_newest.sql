SELECT service, toUnixTimestamp64Nano(start_time), trace_id, span_id, empty_groups + 256 * more_empty_groups
FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
ORDER BY start_time DESC, trace_id, span_id
LIMIT {limit:UInt64}
SETTINGS use_top_k_dynamic_filtering = 0

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- limit = 100
