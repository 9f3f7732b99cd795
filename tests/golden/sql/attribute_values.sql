SELECT DISTINCT pair.2 AS value
FROM tael.span_attribute_keys
ARRAY JOIN attribute_int_values AS pair
WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC') AND pair.1 = {key:String}
ORDER BY value
LIMIT {limit:UInt64}

-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- key = 'k'
-- limit = 9
