SELECT service, sum(spans), uniqCombined64Merge(13)(traces), sum(errors), sum(duration_ns)
FROM (
SELECT service,
    count() AS spans,
    countIf(status_code = 2) AS errors,
    sum(toUInt128(greatest(duration_ns, 0))) AS duration_ns,
    uniqCombined64State(13)(trace_id) AS traces
FROM tael.spans
WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start_0:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end_0:Int64}, 'UTC')
GROUP BY service
)
GROUP BY service
ORDER BY service

-- tenant = 't1'
-- start_0 = 1790000000000000000
-- end_0 = 1790003600000000000
