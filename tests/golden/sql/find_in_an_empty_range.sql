SELECT service, toUnixTimestamp64Nano(start_time), trace_id, span_id, empty_groups + 256 * more_empty_groups
FROM tael.spans
WHERE tenant = {tenant:String}
  AND false
ORDER BY start_time DESC, trace_id, span_id
LIMIT {limit:UInt64}
SETTINGS use_top_k_dynamic_filtering = 0

-- tenant = 't1'
-- limit = 100
