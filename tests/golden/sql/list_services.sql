SELECT service, count(), uniqExact(trace_id), countIf(status_code = 2),
  sum(toUInt128(greatest(duration_ns, 0)))
FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
GROUP BY service
ORDER BY service

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
