SELECT service, sum(spans), uniqCombined64Merge(13)(traces), sum(errors), sum(duration_ns)
FROM (
SELECT service, spans, errors, duration_ns, traces
FROM tael.service_minutes
WHERE tenant = {tenant:String}
  AND minute >= fromUnixTimestamp64Nano({start_0:Int64}, 'UTC')
  AND minute < fromUnixTimestamp64Nano({end_0:Int64}, 'UTC')
UNION ALL
SELECT service,
    count() AS spans,
    countIf(status_code = 2) AS errors,
    sum(toUInt128(greatest(duration_ns, 0))) AS duration_ns,
    uniqCombined64State(13)(trace_id) AS traces
FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start_1:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end_1:Int64}, 'UTC')
GROUP BY service
)
GROUP BY service
ORDER BY service

-- tenant = 't1'
-- start_0 = 1790000040000000000
-- end_0 = 1790000100000000000
-- start_1 = 1790000000000000000
-- end_1 = 1790000040000000000
