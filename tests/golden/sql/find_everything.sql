SELECT service, toUnixTimestamp64Nano(start_time), trace_id, span_id
FROM tael.spans
WHERE tenant = {tenant:String}
  AND service = {service:String}
  AND position(name, {operation:String}) > 0
  AND duration_ns >= {min_duration_ns:Int64}
  AND duration_ns <= {max_duration_ns:Int64}
  AND status_code = {status_code:Int32}
  AND llm_model = {model:String}
  AND llm_cost_usd >= {min_cost_usd:Float64}
  AND (start_time < fromUnixTimestamp64Nano({after:Int64}, 'UTC') OR (start_time = fromUnixTimestamp64Nano({after:Int64}, 'UTC')
    AND (hex(trace_id), hex(span_id)) > ({after_trace:String}, {after_span:String})))
ORDER BY start_time DESC, trace_id, span_id
LIMIT {limit:UInt64}

-- tenant = 't1'
-- service = 'shop'
-- operation = 'GET'
-- min_duration_ns = 5
-- max_duration_ns = 9
-- status_code = 2
-- model = 'm-1'
-- min_cost_usd = 0.5
-- after = 1790000000000000007
-- after_trace = '74747474747474747474747474747474'
-- after_span = '7373737373737373'
-- limit = 100
