SELECT DISTINCT entry.1 AS name, entry.2 AS key
FROM tael.log_attribute_keys
ARRAY JOIN arrayConcat(arrayMap(k -> ('attribute_string', k), attribute_string_keys), arrayMap(k -> ('attribute_int', k), attribute_int_keys), arrayMap(k -> ('attribute_double', k), attribute_double_keys), arrayMap(k -> ('attribute_bool', k), attribute_bool_keys), arrayMap(k -> ('attribute_other', k), attribute_other_keys), arrayMap(k -> ('resource_string', k), resource_string_keys), arrayMap(k -> ('resource_int', k), resource_int_keys), arrayMap(k -> ('resource_double', k), resource_double_keys), arrayMap(k -> ('resource_bool', k), resource_bool_keys), arrayMap(k -> ('resource_other', k), resource_other_keys), arrayMap(k -> ('instrumentation_string', k), instrumentation_string_keys), arrayMap(k -> ('instrumentation_other', k), instrumentation_other_keys)) AS entry
WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC')
ORDER BY name, key

-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
