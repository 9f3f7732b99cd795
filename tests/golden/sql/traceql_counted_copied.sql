SELECT DISTINCT hex(trace_id)
FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND trace_id IN (
    SELECT trace_id FROM tael.spans
    WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({around_start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({around_end:Int64}, 'UTC')
  AND (kind = {p3:Int64} AND status_code = {p4:Int64})
  )
GROUP BY trace_id, start_time, span_id
HAVING count() > 1
LIMIT {limit:UInt64}

-- tenant = 't1'
-- start = 1789999700000000000
-- end = 1790003900000000000
-- p3 = 3
-- p4 = 2
-- around_start = 1789999700000000000
-- around_end = 1790003900000000000
-- limit = 9
