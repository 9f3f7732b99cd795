SELECT slot, count(), toFloat64(1), toFloat64(1), toFloat64(1)
FROM (
  SELECT toUnixTimestamp64Nano(start_time) AS start_ns, intDiv(start_ns - {grid_ns:Int64} + 2 * {step_ns:Int64} - 1, {step_ns:Int64}) - 1 AS slot
  FROM tael.spans
  WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND status_code = {p3:Int64}
  AND trace_id IN (
    SELECT trace_id FROM tael.spans
    WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({around_start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({around_end:Int64}, 'UTC')
  AND status_code = {p4:Int64}
    GROUP BY trace_id HAVING count() > {limit0:Int64} AND toInt64(sum(toFloat64(greatest(duration_ns, 0))) / count()) > {limit1:Int64}
  )
  AND NOT trace_id IN (SELECT arrayJoin(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)}))) AND true
)
GROUP BY slot

-- tenant = 't1'
-- start = 1789999920000000001
-- end = 1790003640000000001
-- p3 = 2
-- p4 = 2
-- limit0 = 1
-- limit1 = 1000000000
-- around_start = 1789999700000000000
-- around_end = 1790003900000000000
-- trace_ids = ['74747474747474747474747474747474']
-- grid_ns = 1789999980000000000
-- step_ns = 60000000000
