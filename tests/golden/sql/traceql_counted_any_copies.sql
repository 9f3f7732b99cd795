SELECT uniqExact(reinterpretAsUInt64(span_id)) < count()
FROM tael.spans
WHERE tenant = {tenant:String}
  AND indexHint(tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC'))
  AND reinterpretAsUInt32(span_id) IN (
    SELECT reinterpretAsUInt32(span_id) FROM tael.spans
    WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND status_code = {p3:Int64}
  )

-- tenant = 't1'
-- start = 1789999700000000000
-- end = 1790003900000000000
-- p3 = 2
