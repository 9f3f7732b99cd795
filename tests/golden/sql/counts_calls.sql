SELECT service, name, kind, status_code, greatest({start:Int64}, intDiv(toInt64(toUnixTimestamp(slot)) + 15 + {step:Int64} - 1, {step:Int64}) * {step:Int64}) AS until,
  max(toInt64(toUnixTimestamp(slot))) + 15 AS newest, bucket, toFloat64(sum(calls)), sum(seconds)
FROM tael.red
WHERE tenant = {tenant:String} AND slot < toDateTime({end:UInt32}, 'UTC')
GROUP BY service, name, kind, status_code, until, bucket
HAVING until <= {end:Int64}
LIMIT {limit:UInt64}

-- tenant = 't1'
-- start = 1789999980
-- end = 1790003600
-- step = 60
-- limit = 1001
