SELECT
  tenant,
  hour,
  groupUniqArrayArray(5000)(CAST(resource_string, 'Array(String)')) AS resource_string_keys,
  groupUniqArrayArray(5000)(CAST(resource_int, 'Array(String)')) AS resource_int_keys,
  groupUniqArrayArray(5000)(CAST(resource_double, 'Array(String)')) AS resource_double_keys,
  groupUniqArrayArray(5000)(CAST(resource_bool, 'Array(String)')) AS resource_bool_keys,
  groupUniqArrayArray(5000)(CAST(resource_other, 'Array(String)')) AS resource_other_keys,
  groupUniqArrayArray(5000)(CAST(instrumentation_string, 'Array(String)')) AS instrumentation_string_keys,
  groupUniqArrayArray(5000)(CAST(instrumentation_other, 'Array(String)')) AS instrumentation_other_keys,
  arrayFlatten(arrayMap((k, vs) -> if(length(vs) > 300, [], arrayMap(v -> (k, v), vs)), mapKeys(groupUniqArrayMap(301)(mapFromArrays(short.key, short.value.string_value)) AS resource_string_by_key), mapValues(resource_string_by_key))) AS resource_string_values
FROM (
SELECT
  tenant,
  arrayJoin(hours) AS hour,
  arrayFilter((k, o) -> o = 'string_value', own.key, own.value.value) AS resource_string,
  arrayFilter((k, o) -> o = 'int_value', own.key, own.value.value) AS resource_int,
  arrayFilter((k, o) -> o = 'double_value', own.key, own.value.value) AS resource_double,
  arrayFilter((k, o) -> o = 'bool_value', own.key, own.value.value) AS resource_bool,
  arrayFilter((k, o) -> o NOT IN ('string_value', 'int_value', 'double_value', 'bool_value'), own.key, own.value.value) AS resource_other,
  arrayFilter((k, o) -> o = 'string_value', around.key, around.value.value) AS instrumentation_string,
  arrayFilter((k, o) -> o != 'string_value', around.key, around.value.value) AS instrumentation_other,
  arrayFilter(x -> x.value.value = 'string_value' AND length(x.value.string_value) <= 128, own) AS short
FROM (
SELECT
  tenant,
  arrayDistinct(arrayFlatten(arrayMap(ss -> arrayMap(i -> toStartOfHour(fromUnixTimestamp64Nano(reinterpretAsInt64(i.start_time_unix_nano), 'UTC')), ss.spans), rs.scope_spans))) AS hours,
  rs.resource.attributes AS own,
  arrayFlatten(rs.scope_spans.scope.attributes) AS around
FROM (
SELECT r.tenant AS tenant, r.received_at AS batch_received_at, arrayJoin(r.request.resource_spans) AS rs
FROM (SELECT arrayJoin(records) AS r FROM tael.spans_in_9)
)
)
)
GROUP BY tenant, hour
