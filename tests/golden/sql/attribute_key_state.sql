SELECT max(has(attribute_string_keys, {key:String})), max(has(attribute_int_keys, {key:String})), max(has(attribute_double_keys, {key:String})), max(has(attribute_bool_keys, {key:String})), max(has(attribute_other_keys, {key:String})), arrayMax([max(length(attribute_string_values)), max(length(attribute_int_values))])
FROM tael.span_attribute_keys
WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC')

-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- key = 'k'
