SELECT service, toUnixTimestamp64Nano(start_time), trace_id, span_id
FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND (attributes_string[{key_0:String}] = {string_0:String} OR resource_string[{key_0:String}] = {string_0:String})
  AND (attributes_string[{key_1:String}] = {string_1:String} OR resource_string[{key_1:String}] = {string_1:String} OR attributes_int[{key_1:String}] = {int_1:Int64} OR resource_int[{key_1:String}] = {int_1:Int64} OR attributes_double[{key_1:String}] = {double_1:Float64} OR resource_double[{key_1:String}] = {double_1:Float64})
  AND (attributes_string[{key_2:String}] = {string_2:String} OR resource_string[{key_2:String}] = {string_2:String} OR (mapContains(attributes_int, {key_2:String}) AND attributes_int[{key_2:String}] = {int_2:Int64}) OR (mapContains(resource_int, {key_2:String}) AND resource_int[{key_2:String}] = {int_2:Int64}) OR (mapContains(attributes_double, {key_2:String}) AND attributes_double[{key_2:String}] = {double_2:Float64}) OR (mapContains(resource_double, {key_2:String}) AND resource_double[{key_2:String}] = {double_2:Float64}))
  AND (attributes_string[{key_3:String}] = {string_3:String} OR resource_string[{key_3:String}] = {string_3:String} OR (mapContains(attributes_bool, {key_3:String}) AND attributes_bool[{key_3:String}] = {bool_3:Bool}) OR (mapContains(resource_bool, {key_3:String}) AND resource_bool[{key_3:String}] = {bool_3:Bool}))
  AND ((mapContains(attributes_string, {key_4:String}) AND attributes_string[{key_4:String}] = {string_4:String}) OR (mapContains(resource_string, {key_4:String}) AND resource_string[{key_4:String}] = {string_4:String}))
ORDER BY start_time DESC, trace_id, span_id
LIMIT {limit:UInt64}

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- key_0 = 'user'
-- string_0 = 'ann'
-- key_1 = 'n'
-- string_1 = '5'
-- int_1 = 5
-- double_1 = 5.0
-- key_2 = 'zero'
-- string_2 = '0'
-- int_2 = 0
-- double_2 = 0.0
-- key_3 = 'cached'
-- string_3 = 'false'
-- bool_3 = False
-- key_4 = 'empty'
-- string_4 = ''
-- limit = 100
