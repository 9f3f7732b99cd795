SELECT max(has(attribute_string_keys, {key:String})), max(has(attribute_int_keys, {key:String})), max(has(attribute_double_keys, {key:String})), max(has(attribute_bool_keys, {key:String})), max(has(attribute_other_keys, {key:String})), max(arrayMax([length(attribute_string_values), length(attribute_int_values)])), arraySlice(arraySort(groupUniqArrayArray(arrayMap(p -> p.2, arrayFilter(p -> p.1 = {key:String}, attribute_string_values)))), 1, {limit:UInt64}), arraySlice(arraySort(groupUniqArrayArray(arrayMap(p -> p.2, arrayFilter(p -> p.1 = {key:String}, attribute_int_values)))), 1, {limit:UInt64})
FROM tael.span_attribute_keys
WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC')

-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- key = 'k'
-- limit = 9
