SELECT stream AS own_stream, bitAnd(line_names, 2348941311) = 2147483648 AND line_level != '' AS known, if(line_level = 'as_severity', toString(severity_text), toString(line_level)) AS severity, intDiv(toUnixTimestamp64Nano(timestamp) - {slots_from:Int64}, {slot:Int64}) AS slot_number, count(), sum(body.size)
FROM tael.logs
WHERE tenant = {tenant:String}
  AND timestamp >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND (NOT line_level != '' OR (line_level IN ('error') OR (line_level = 'as_severity' AND match(severity_text, {p3:String}))))
  AND NOT (line_level IN ('fatal') OR (line_level = 'as_severity' AND severity_text = {p4:String}))
  AND stream IN (SELECT stream FROM tael.log_streams WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC') AND match(labels[{label_0:String}], {value_0:String}))
GROUP BY own_stream, known, severity, slot_number
LIMIT {limit:UInt64}

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- p3 = '(?-s:^(?s:err.*|odd)$)'
-- p4 = 'fatal'
-- first_hour = 1789999200
-- last_hour = 1790002800
-- label_0 = 'k8s.pod.name'
-- value_0 = '^(?s:cart-.+)$'
-- slots_from = 1790000000000000000
-- slot = 60000000000
-- limit = 9
