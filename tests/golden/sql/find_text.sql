SELECT service, toUnixTimestamp64Nano(start_time), trace_id, span_id, empty_groups
FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND (llm_operation != '' AND arrayExists(x -> if(startsWith(x, 'tael.payload:sha256:'), substring(x, 21, 64) IN (SELECT lower(hex(hash)) FROM tael.payloads WHERE tenant = {tenant:String} AND hour >= toStartOfHour(fromUnixTimestamp64Nano({first_hour:Int64}, 'UTC')) AND hour <= toStartOfHour(fromUnixTimestamp64Nano({last_hour:Int64}, 'UTC')) AND hasAllTokens(content, {p5:Array(String)})), hasAllTokens(lower(x), {p5:Array(String)})), (arrayConcat(mapValues(mapFilter((k, v) -> (k IN ('gen_ai.input.messages', 'gen_ai.system_instructions', 'gen_ai.prompt', 'input.value', 'traceloop.entity.input', 'ai.prompt', 'ai.prompt.messages', 'gcp.vertex.agent.llm_request', 'pydantic_ai.all_messages', 'all_messages_events', 'langfuse.observation.input', 'mlflow.spanInputs', 'gen_ai.output.messages', 'gen_ai.completion', 'output.value', 'traceloop.entity.output', 'ai.response.text', 'ai.response.object', 'gcp.vertex.agent.llm_response', 'langfuse.observation.output', 'mlflow.spanOutputs') OR startsWith(k, 'gen_ai.prompt.') OR startsWith(k, 'llm.input_messages.') OR startsWith(k, 'llm.prompts.') OR startsWith(k, 'gen_ai.completion.') OR startsWith(k, 'llm.output_messages.') OR startsWith(k, 'llm.completions.')), attributes_string)),
    arrayMap(v -> base64Decode(substring(v, 2)), mapValues(mapFilter((k, v) -> (k IN ('gen_ai.input.messages', 'gen_ai.system_instructions', 'gen_ai.prompt', 'input.value', 'traceloop.entity.input', 'ai.prompt', 'ai.prompt.messages', 'gcp.vertex.agent.llm_request', 'pydantic_ai.all_messages', 'all_messages_events', 'langfuse.observation.input', 'mlflow.spanInputs', 'gen_ai.output.messages', 'gen_ai.completion', 'output.value', 'traceloop.entity.output', 'ai.response.text', 'ai.response.object', 'gcp.vertex.agent.llm_response', 'langfuse.observation.output', 'mlflow.spanOutputs') OR startsWith(k, 'gen_ai.prompt.') OR startsWith(k, 'llm.input_messages.') OR startsWith(k, 'llm.prompts.') OR startsWith(k, 'gen_ai.completion.') OR startsWith(k, 'llm.output_messages.') OR startsWith(k, 'llm.completions.')), attributes_other))),
    arrayFlatten(arrayMap(e -> mapValues(mapFilter((k, v) -> (k IN ('gen_ai.input.messages', 'gen_ai.system_instructions', 'gen_ai.prompt', 'input.value', 'traceloop.entity.input', 'ai.prompt', 'ai.prompt.messages', 'gcp.vertex.agent.llm_request', 'pydantic_ai.all_messages', 'all_messages_events', 'langfuse.observation.input', 'mlflow.spanInputs', 'gen_ai.output.messages', 'gen_ai.completion', 'output.value', 'traceloop.entity.output', 'ai.response.text', 'ai.response.object', 'gcp.vertex.agent.llm_response', 'langfuse.observation.output', 'mlflow.spanOutputs') OR startsWith(k, 'gen_ai.prompt.') OR startsWith(k, 'llm.input_messages.') OR startsWith(k, 'llm.prompts.') OR startsWith(k, 'gen_ai.completion.') OR startsWith(k, 'llm.output_messages.') OR startsWith(k, 'llm.completions.')), e)), events.attributes_string))) AS llm_content)))
  AND (llm_operation != '' AND arrayExists(x -> if(startsWith(x, 'tael.payload:sha256:'), substring(x, 21, 64) IN (SELECT lower(hex(hash)) FROM tael.payloads WHERE tenant = {tenant:String} AND hour >= toStartOfHour(fromUnixTimestamp64Nano({first_hour:Int64}, 'UTC')) AND hour <= toStartOfHour(fromUnixTimestamp64Nano({last_hour:Int64}, 'UTC')) AND hasAllTokens(content, {p6:Array(String)})), hasAllTokens(lower(x), {p6:Array(String)})), llm_content))
ORDER BY start_time DESC, trace_id, span_id
LIMIT {limit:UInt64}
SETTINGS use_top_k_dynamic_filtering = 0

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- first_hour = 1790000000000000000
-- last_hour = 1790003600000000000
-- p5 = ['blue']
-- p6 = ['sky']
-- limit = 100
