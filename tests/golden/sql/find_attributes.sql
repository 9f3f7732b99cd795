SELECT service, toUnixTimestamp64Nano(start_time), trace_id, span_id, empty_groups + 256 * more_empty_groups
FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND (attributes_string[{p3:String}] = {p4:String} OR (indexHint(has(resource_value_hashes, xxHash32({p4:String}))) AND resource_string[{p3:String}] = {p4:String}))
  AND (attributes_string[{p5:String}] = {p6:String} OR (indexHint(has(resource_value_hashes, xxHash32({p6:String}))) AND resource_string[{p5:String}] = {p6:String}) OR attributes_int[{p5:String}] = {p7:Int64} OR resource_int[{p5:String}] = {p7:Int64} OR attributes_double[{p5:String}] = {p8:Float64} OR resource_double[{p5:String}] = {p8:Float64})
  AND (attributes_string[{p9:String}] = {p10:String} OR (indexHint(has(resource_value_hashes, xxHash32({p10:String}))) AND resource_string[{p9:String}] = {p10:String}) OR (mapContains(attributes_int, {p9:String}) AND attributes_int[{p9:String}] = {p11:Int64}) OR (mapContains(resource_int, {p9:String}) AND resource_int[{p9:String}] = {p11:Int64}) OR (mapContains(attributes_double, {p9:String}) AND attributes_double[{p9:String}] = {p12:Float64}) OR (mapContains(resource_double, {p9:String}) AND resource_double[{p9:String}] = {p12:Float64}))
  AND (attributes_string[{p13:String}] = {p14:String} OR (indexHint(has(resource_value_hashes, xxHash32({p14:String}))) AND resource_string[{p13:String}] = {p14:String}) OR (mapContains(attributes_bool, {p13:String}) AND attributes_bool[{p13:String}] = {p15:Bool}) OR (mapContains(resource_bool, {p13:String}) AND resource_bool[{p13:String}] = {p15:Bool}))
  AND ((mapContains(attributes_string, {p16:String}) AND attributes_string[{p16:String}] = {p17:String}) OR (mapContains(resource_string, {p16:String}) AND resource_string[{p16:String}] = {p17:String}))
ORDER BY start_time DESC, trace_id, span_id
LIMIT {limit:UInt64}
SETTINGS use_top_k_dynamic_filtering = 0

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- p3 = 'user'
-- p4 = 'ann'
-- p5 = 'n'
-- p6 = '5'
-- p7 = 5
-- p8 = 5.0
-- p9 = 'zero'
-- p10 = '0'
-- p11 = 0
-- p12 = 0.0
-- p13 = 'cached'
-- p14 = 'false'
-- p15 = False
-- p16 = 'empty'
-- p17 = ''
-- limit = 100
