SELECT service, toUnixTimestamp64Nano(start_time), trace_id, span_id
FROM tael.spans
WHERE tenant = {tenant:String}
  AND service = {p1:String}
  AND status_code = {p2:Int64}
  AND position(name, {p3:String}) > 0
  AND greatest(duration_ns, 0) >= {p4:Int64}
  AND greatest(duration_ns, 0) <= {p5:Int64}
  AND (llm_model = {p6:String} OR llm_response_model = {p6:String})
  AND (isNotNull(llm_cost_usd) AND llm_cost_usd >= {p7:Float64})
  AND (start_time < fromUnixTimestamp64Nano({after:Int64}, 'UTC') OR (start_time = fromUnixTimestamp64Nano({after:Int64}, 'UTC')
    AND (hex(trace_id), hex(span_id)) > ({after_trace:String}, {after_span:String})))
ORDER BY start_time DESC, trace_id, span_id
LIMIT {limit:UInt64}

-- tenant = 't1'
-- p1 = 'shop'
-- p2 = 2
-- p3 = 'GET'
-- p4 = 5
-- p5 = 9
-- p6 = 'm-1'
-- p7 = 0.5
-- after = 1790000000000000007
-- after_trace = '74747474747474747474747474747474'
-- after_span = '7373737373737373'
-- limit = 100
