SELECT trace_id, span_id, parent_span_id, name, kind, toUnixTimestamp64Nano(start_time) AS start_ns, duration_ns, trace_state, flags, status_code, status_message, dropped_attributes_count, dropped_events_count, dropped_links_count, attributes_string, attributes_int, attributes_double, attributes_bool, attributes_other, arrayMap(t -> toUnixTimestamp64Nano(t), events.time) AS event_ns, events.name, events.attributes_string, events.attributes_other, events.dropped_attributes_count, links.trace_id, links.span_id, links.trace_state, links.attributes_string, links.attributes_other, links.dropped_attributes_count, links.flags, resource_string, resource_int, resource_double, resource_bool, resource_other, resource_dropped_attributes_count, resource_schema_url, scope_name, scope_version, scope_string, scope_other, scope_dropped_attributes_count, scope_schema_url, llm_provider, llm_model, llm_operation, llm_input_tokens, llm_output_tokens, llm_total_tokens, llm_cost_usd, llm_ttft_ms, llm_finish_reason, llm_temperature, llm_response_model, llm_cache_read_tokens, llm_cache_write_tokens, llm_reasoning_tokens, llm_session_id, llm_user_id, llm_agent_name, llm_tool_name, empty_groups + 256 * more_empty_groups
FROM tael.spans
WHERE tenant = {tenant:String}
  AND service IN {services:Array(String)}
  AND start_time >= fromUnixTimestamp64Nano({first:Int64}, 'UTC')
  AND start_time <= fromUnixTimestamp64Nano({last:Int64}, 'UTC')
  AND trace_id IN (SELECT arrayJoin(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)})))
  AND (toUnixTimestamp64Nano(start_time), hex(trace_id), hex(span_id)) IN {keys:Array(Tuple(Int64, String, String))}

-- tenant = 't1'
-- services = ['pay', 'shop']
-- first = 3
-- last = 7
-- trace_ids = ['74747474747474747474747474747474', '75757575757575757575757575757575']
-- keys = [(7, '74747474747474747474747474747474', '7373737373737373'), (3, '75757575757575757575757575757575', '7676767676767676')]
