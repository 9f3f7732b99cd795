SELECT p.service, c.service, count()
FROM (SELECT trace_id, service, parent_span_id FROM tael.spans WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND parent_span_id != '') AS c
INNER JOIN (SELECT trace_id, service, span_id FROM tael.spans WHERE tenant = {tenant:String}
  AND start_time >= fromUnixTimestamp64Nano({parent_start:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({end:Int64}, 'UTC')) AS p
ON p.trace_id = c.trace_id AND toString(p.span_id) = c.parent_span_id
GROUP BY p.service, c.service
LIMIT 100001

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- parent_start = 1789996400000000000
