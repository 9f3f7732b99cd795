SELECT groupUniqArrayArray(attribute_string_keys), groupUniqArrayArray(attribute_int_keys), groupUniqArrayArray(attribute_double_keys), groupUniqArrayArray(attribute_bool_keys), groupUniqArrayArray(attribute_other_keys), groupUniqArrayArray(resource_string_keys), groupUniqArrayArray(resource_int_keys), groupUniqArrayArray(resource_double_keys), groupUniqArrayArray(resource_bool_keys), groupUniqArrayArray(resource_other_keys), groupUniqArrayArray(instrumentation_string_keys), groupUniqArrayArray(instrumentation_other_keys)
FROM tael.log_attribute_keys
WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC')

-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
