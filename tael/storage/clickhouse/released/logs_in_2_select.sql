SELECT
  batch_tenant AS tenant,
  resource_service AS service,
  fromUnixTimestamp64Nano(reinterpretAsInt64(multiIf(lr.time_unix_nano != 0, lr.time_unix_nano, lr.observed_time_unix_nano != 0, lr.observed_time_unix_nano, batch_received_at)), 'UTC') AS timestamp,
  rand64() AS serial,
  fromUnixTimestamp64Nano(reinterpretAsInt64(lr.observed_time_unix_nano), 'UTC') AS observed_timestamp,
  toFixedString(if(length(lr.trace_id) = 16, lr.trace_id, ''), 16) AS trace_id,
  toFixedString(if(length(lr.span_id) = 8, lr.span_id, ''), 8) AS span_id,
  lr.severity_number AS severity_number,
  lr.severity_text AS severity_text,
  lr.event_name AS event_name,
  multiIf(lr.body.value = 'string_value', lr.body.string_value, lr.body.value = 'array_value', lr.body.array_value, lr.body.value = 'kvlist_value', lr.body.kvlist_value, lr.body.value = 'bytes_value', lr.body.bytes_value, lr.body.value = 'int_value', toString(lr.body.int_value), lr.body.value = 'double_value', toString(lr.body.double_value), lr.body.value = 'bool_value', if(lr.body.bool_value, 'true', 'false'), '') AS body,
  toInt8(lr.body.value) AS body_type,
  mapFromArrays(arrayFilter((x, o) -> o = 'string_value', lr.attributes.key, lr.attributes.value.value), arrayFilter((x, o) -> o = 'string_value', lr.attributes.value.string_value, lr.attributes.value.value))::Map(String, String) AS attributes_string,
  mapFromArrays(arrayFilter((x, o) -> o = 'int_value', lr.attributes.key, lr.attributes.value.value), arrayFilter((x, o) -> o = 'int_value', lr.attributes.value.int_value, lr.attributes.value.value))::Map(String, Int64) AS attributes_int,
  mapFromArrays(arrayFilter((x, o) -> o = 'double_value', lr.attributes.key, lr.attributes.value.value), arrayFilter((x, o) -> o = 'double_value', lr.attributes.value.double_value, lr.attributes.value.value))::Map(String, Float64) AS attributes_double,
  mapFromArrays(arrayFilter((x, o) -> o = 'bool_value', lr.attributes.key, lr.attributes.value.value), arrayFilter((x, o) -> o = 'bool_value', lr.attributes.value.bool_value, lr.attributes.value.value))::Map(String, Bool) AS attributes_bool,
  mapFromArrays(arrayFilter(x -> x.value.value NOT IN ('string_value', 'int_value', 'double_value', 'bool_value'), lr.attributes).key, arrayMap(x -> multiIf(x.value.value = 'array_value', concat('a', base64Encode(x.value.array_value)), x.value.value = 'kvlist_value', concat('k', base64Encode(x.value.kvlist_value)), x.value.value = 'bytes_value', concat('b', base64Encode(x.value.bytes_value)), 'n'), arrayFilter(x -> x.value.value NOT IN ('string_value', 'int_value', 'double_value', 'bool_value'), lr.attributes)))::Map(String, String) AS attributes_other,
  lr.dropped_attributes_count AS dropped_attributes_count,
  lr.flags AS flags,
  toInt8(multiIf(lr.severity_number BETWEEN 1 AND 24, intDiv(lr.severity_number - 1, 4) + 1, transform(lower(lr.severity_text), ['trace', 'verbose', 'debug', 'dbg', 'info', 'information', 'informational', 'notice', 'warn', 'warning', 'error', 'err', 'fatal', 'critical', 'crit', 'alert', 'emerg', 'emergency', 'panic'], [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6], 0) != 0, transform(lower(lr.severity_text), ['trace', 'verbose', 'debug', 'dbg', 'info', 'information', 'informational', 'notice', 'warn', 'warning', 'error', 'err', 'fatal', 'critical', 'crit', 'alert', 'emerg', 'emergency', 'panic'], [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6], 0), transform(lower(attributes_string['level']), ['trace', 'verbose', 'debug', 'dbg', 'info', 'information', 'informational', 'notice', 'warn', 'warning', 'error', 'err', 'fatal', 'critical', 'crit', 'alert', 'emerg', 'emergency', 'panic'], [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6], 0) != 0, transform(lower(attributes_string['level']), ['trace', 'verbose', 'debug', 'dbg', 'info', 'information', 'informational', 'notice', 'warn', 'warning', 'error', 'err', 'fatal', 'critical', 'crit', 'alert', 'emerg', 'emergency', 'panic'], [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6], 0), transform(lower(attributes_string['severity']), ['trace', 'verbose', 'debug', 'dbg', 'info', 'information', 'informational', 'notice', 'warn', 'warning', 'error', 'err', 'fatal', 'critical', 'crit', 'alert', 'emerg', 'emergency', 'panic'], [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6], 0) != 0, transform(lower(attributes_string['severity']), ['trace', 'verbose', 'debug', 'dbg', 'info', 'information', 'informational', 'notice', 'warn', 'warning', 'error', 'err', 'fatal', 'critical', 'crit', 'alert', 'emerg', 'emergency', 'panic'], [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6], 0), transform(lower(attributes_string['lvl']), ['trace', 'verbose', 'debug', 'dbg', 'info', 'information', 'informational', 'notice', 'warn', 'warning', 'error', 'err', 'fatal', 'critical', 'crit', 'alert', 'emerg', 'emergency', 'panic'], [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6], 0) != 0, transform(lower(attributes_string['lvl']), ['trace', 'verbose', 'debug', 'dbg', 'info', 'information', 'informational', 'notice', 'warn', 'warning', 'error', 'err', 'fatal', 'critical', 'crit', 'alert', 'emerg', 'emergency', 'panic'], [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6], 0), transform(lower(if(lr.body.value = 'string_value', extract(substring(lr.body.string_value, 1, 64), '(?i)\\b(informational|information|emergency|critical|verbose|warning|notice|trace|debug|error|fatal|alert|emerg|panic|info|warn|crit|dbg|err)\\b'), '')), ['trace', 'verbose', 'debug', 'dbg', 'info', 'information', 'informational', 'notice', 'warn', 'warning', 'error', 'err', 'fatal', 'critical', 'crit', 'alert', 'emerg', 'emergency', 'panic'], [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6], 0))) AS level,
  fromUnixTimestamp64Nano(reinterpretAsInt64(batch_received_at), 'UTC') AS received_at,
  stream,
  resource_string,
  resource_int,
  resource_double,
  resource_bool,
  resource_other,
  resource_dropped_attributes_count,
  resource_schema_url,
  scope_name,
  scope_version,
  scope_string,
  scope_other,
  scope_dropped_attributes_count,
  scope_schema_url
FROM (
SELECT
  batch_tenant,
  batch_received_at,
  resource_service,
  resource_string,
  resource_int,
  resource_double,
  resource_bool,
  resource_other,
  resource_dropped_attributes_count,
  resource_schema_url,
  stream,
  scope_name,
  scope_version,
  scope_string,
  scope_other,
  scope_dropped_attributes_count,
  scope_schema_url,
  arrayJoin(items) AS lr
FROM (
SELECT
  batch_tenant,
  batch_received_at,
  resource_service,
  resource_string,
  resource_int,
  resource_double,
  resource_bool,
  resource_other,
  resource_dropped_attributes_count,
  resource_schema_url,
  stream,
  (ss.scope.name)::LowCardinality(String) AS scope_name,
  (ss.scope.version)::LowCardinality(String) AS scope_version,
  mapFromArrays(arrayFilter((x, o) -> o = 'string_value', ss.scope.attributes.key, ss.scope.attributes.value.value), arrayFilter((x, o) -> o = 'string_value', ss.scope.attributes.value.string_value, ss.scope.attributes.value.value))::Map(LowCardinality(String), LowCardinality(String)) AS scope_string,
  mapFromArrays(arrayFilter(x -> x.value.value != 'string_value', ss.scope.attributes).key, arrayMap(x -> multiIf(x.value.value = 'int_value', concat('i', toString(x.value.int_value)), x.value.value = 'double_value', concat('d', toString(x.value.double_value)), x.value.value = 'bool_value', if(x.value.bool_value, 't', 'f'), x.value.value = 'array_value', concat('a', base64Encode(x.value.array_value)), x.value.value = 'kvlist_value', concat('k', base64Encode(x.value.kvlist_value)), x.value.value = 'bytes_value', concat('b', base64Encode(x.value.bytes_value)), 'n'), arrayFilter(x -> x.value.value != 'string_value', ss.scope.attributes)))::Map(LowCardinality(String), LowCardinality(String)) AS scope_other,
  ss.scope.dropped_attributes_count AS scope_dropped_attributes_count,
  (ss.schema_url)::LowCardinality(String) AS scope_schema_url,
  ss.log_records AS items
FROM (
SELECT
  batch_tenant,
  batch_received_at,
  resource_service,
  resource_string,
  resource_int,
  resource_double,
  resource_bool,
  resource_other,
  resource_dropped_attributes_count,
  resource_schema_url,
  stream,
  arrayJoin(scopes) AS ss
FROM (
SELECT
  (tenant)::LowCardinality(String) AS batch_tenant,
  batch_received_at,
  mapFromArrays(arrayFilter((x, o) -> o = 'string_value', rs.resource.attributes.key, rs.resource.attributes.value.value), arrayFilter((x, o) -> o = 'string_value', rs.resource.attributes.value.string_value, rs.resource.attributes.value.value))::Map(LowCardinality(String), LowCardinality(String)) AS resource_string,
  mapFromArrays(arrayFilter((x, o) -> o = 'int_value', rs.resource.attributes.key, rs.resource.attributes.value.value), arrayFilter((x, o) -> o = 'int_value', rs.resource.attributes.value.int_value, rs.resource.attributes.value.value))::Map(LowCardinality(String), Int64) AS resource_int,
  mapFromArrays(arrayFilter((x, o) -> o = 'double_value', rs.resource.attributes.key, rs.resource.attributes.value.value), arrayFilter((x, o) -> o = 'double_value', rs.resource.attributes.value.double_value, rs.resource.attributes.value.value))::Map(LowCardinality(String), Float64) AS resource_double,
  mapFromArrays(arrayFilter((x, o) -> o = 'bool_value', rs.resource.attributes.key, rs.resource.attributes.value.value), arrayFilter((x, o) -> o = 'bool_value', rs.resource.attributes.value.bool_value, rs.resource.attributes.value.value))::Map(LowCardinality(String), Bool) AS resource_bool,
  mapFromArrays(arrayFilter(x -> x.value.value NOT IN ('string_value', 'int_value', 'double_value', 'bool_value'), rs.resource.attributes).key, arrayMap(x -> multiIf(x.value.value = 'array_value', concat('a', base64Encode(x.value.array_value)), x.value.value = 'kvlist_value', concat('k', base64Encode(x.value.kvlist_value)), x.value.value = 'bytes_value', concat('b', base64Encode(x.value.bytes_value)), 'n'), arrayFilter(x -> x.value.value NOT IN ('string_value', 'int_value', 'double_value', 'bool_value'), rs.resource.attributes)))::Map(LowCardinality(String), LowCardinality(String)) AS resource_other,
  (coalesce(nullIf(arrayFirst(x -> x.key = 'service.name' AND x.value.value = 'string_value', rs.resource.attributes).value.string_value, ''), 'unknown_service'))::LowCardinality(String) AS resource_service,
  rs.resource.dropped_attributes_count AS resource_dropped_attributes_count,
  (rs.schema_url)::LowCardinality(String) AS resource_schema_url,
  xxh3(concat(tenant, arrayStringConcat(arrayMap(p -> concat('\xff', p.1, '\xff', p.2), mapSort(mapUpdate(mapFilter((k, v) -> k IN ('cloud.availability_zone', 'cloud.region', 'container.name', 'deployment.environment', 'deployment.environment.name', 'k8s.cluster.name', 'k8s.container.name', 'k8s.cronjob.name', 'k8s.daemonset.name', 'k8s.deployment.name', 'k8s.job.name', 'k8s.namespace.name', 'k8s.pod.name', 'k8s.replicaset.name', 'k8s.statefulset.name', 'service.instance.id', 'service.name', 'service.namespace') AND v != '', CAST(resource_string, 'Map(String, String)')), map('service.name', toString(resource_service))))::Array(Tuple(String, String)))))) AS stream,
  rs.scope_logs AS scopes
FROM (
SELECT r.tenant AS tenant, r.received_at AS batch_received_at, arrayJoin(r.request.resource_logs) AS rs
FROM (SELECT arrayJoin(records) AS r FROM {{database}}.logs_in_2)
)
)
)
)
)
