SELECT any(labels) AS own_stream, bitTest(minute, 1) AND line_level != '' AS known, if(line_level = 'as_severity', toString(severity_text), toString(line_level)) AS severity, 0 AS slot_number, sum(records), sum(bytes), is_rest OR line_level = 'as_severity' AS incomplete
FROM (
  SELECT labels, alike, part.1 AS minute, part.2 AS records, part.3 AS bytes, '' AS severity_text, CAST(toInt8(intDiv(minute % 128, 8)) AS Enum8('' = 0, 'unknown' = 1, 'trace' = 2, 'debug' = 3, 'info' = 4, 'warn' = 5, 'error' = 6, 'fatal' = 7, 'critical' = 8, 'as_severity' = 15)) AS line_level, minute = 65535 AS is_rest, toInt64(toUnixTimestamp(hour)) * 1000000000 + intDiv(minute, 256) * 60000000000 + if(bitTest(minute, 7), 0, 1) AS instant_ns
  FROM (
  SELECT labels, cityHash64(arrayMap(name -> labels[name], {names:Array(String)})) AS alike, hour, arrayJoin(arrayZip(arrayPushBack(minutes.1, 65535), arrayPushBack(minutes.2, toUInt64(records - arraySum(minutes.2))), arrayPushBack(minutes.3, 0))) AS part
  FROM tael.log_streams
  WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC') AND match(labels[{label_0:String}], {value_0:String})
  )
  WHERE is_rest ? records != 0 : (instant_ns >= {whole_start:Int64} AND instant_ns < {whole_end:Int64})
)
GROUP BY alike, known, severity, slot_number, incomplete
LIMIT {limit:UInt64}

-- limit = 9
-- whole_start = 1790000000000000000
-- whole_end = 1790003600000000000
-- tenant = 't1'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- label_0 = 'k8s.pod.name'
-- value_0 = '^(?s:cart-.+)$'
-- names = ['service.name']
