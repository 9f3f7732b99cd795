SELECT trace_id, span_id, parent_span_id, name, kind, toUnixTimestamp64Nano(start_time) AS start_ns, duration_ns, status_code, attributes_string, resource_string, scope_name, scope_version, empty_groups + 256 * more_empty_groups
FROM tael.spans
WHERE tenant = {tenant:String}
  AND trace_id = toFixedString(unhex({trace_id:String}), 16)
  AND start_time >= fromUnixTimestamp64Nano({first:Int64}, 'UTC')
  AND start_time <= fromUnixTimestamp64Nano({last:Int64}, 'UTC')
LIMIT {limit:UInt64}

-- tenant = 't1'
-- trace_id = '74747474747474747474747474747474'
-- first = 1790000000000000000
-- last = 1790003600000000000
-- limit = 2001
