SELECT client, server, connection, failed, side.1 AS whose, greatest({start:Int64}, intDiv(ended + {step:Int64} - 1, {step:Int64}) * {step:Int64}) AS until, max(ended) AS newest,
  toUInt8(arrayCount(bound -> side.2 > bound, [100000000, 200000000, 400000000, 800000000, 1600000000, 3200000000, 6400000000, 12800000000])) AS bucket, toFloat64(count() * 1), sum(side.2 / 1e9) * 1
FROM
(
  SELECT c.service AS client, s.service AS server, if(c.kind = 4, 'messaging_system', '') AS connection,
    if(c.status_code = 2 OR s.status_code = 2, 'failed', '') AS failed, intDiv(toUnixTimestamp64Nano(s.start_time) + greatest(s.duration_ns, 0), 1000000000) AS ended,
    arrayJoin([('client', greatest(c.duration_ns, 0)), ('server', greatest(s.duration_ns, 0))]) AS side
  FROM (SELECT trace_id, service, status_code, kind, start_time, duration_ns, reinterpretAsUInt64(parent_span_id) AS parent FROM tael.spans
    WHERE tenant = {tenant:String} AND start_time >= fromUnixTimestamp64Nano(({start:Int64} - 0) * 1000000000, 'UTC') AND start_time < fromUnixTimestamp64Nano({end:Int64} * 1000000000, 'UTC') AND kind IN (2, 5) AND parent_span_id != '') AS s
  INNER JOIN (SELECT trace_id, service, status_code, kind, start_time, duration_ns, reinterpretAsUInt64(span_id) AS id FROM tael.spans
    WHERE tenant = {tenant:String} AND start_time >= fromUnixTimestamp64Nano(({start:Int64} - 60) * 1000000000, 'UTC') AND start_time < fromUnixTimestamp64Nano({end:Int64} * 1000000000, 'UTC') AND kind IN (3, 4)) AS c
  ON c.trace_id = s.trace_id AND c.id = s.parent
)
GROUP BY client, server, connection, failed, whose, until, bucket
HAVING until <= {end:Int64}
LIMIT {limit:UInt64}

-- tenant = 't1'
-- start = 1789999980
-- end = 1790003600
-- step = 60
-- limit = 1001
