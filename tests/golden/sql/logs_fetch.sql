SELECT toUnixTimestamp64Nano(timestamp) AS time_ns, serial, toUnixTimestamp64Nano(observed_timestamp) AS observed_ns, trace_id, span_id, severity_number, severity_text, toInt8(level) AS level_number, event_name, toInt8(body_type) AS body_type_number, body, attributes_string, attributes_int, attributes_double, attributes_bool, attributes_other, dropped_attributes_count, flags, resource_string, resource_int, resource_double, resource_bool, resource_other, resource_dropped_attributes_count, resource_schema_url, scope_name, scope_version, scope_string, scope_other, scope_dropped_attributes_count, scope_schema_url
FROM tael.logs
WHERE tenant = {tenant:String}
  AND service IN {services:Array(String)}
  AND timestamp >= fromUnixTimestamp64Nano({first:Int64}, 'UTC')
  AND timestamp <= fromUnixTimestamp64Nano({last:Int64}, 'UTC')
  AND (toUnixTimestamp64Nano(timestamp), serial) IN {keys:Array(Tuple(Int64, UInt64))}

-- tenant = 't1'
-- services = ['pay', 'shop']
-- first = 3
-- last = 7
-- keys = Written(text='[(7,1),(3,9223372036854775808)]')
