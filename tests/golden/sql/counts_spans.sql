SELECT count()
FROM tael.spans
WHERE tenant = {tenant:String} AND start_time >= fromUnixTimestamp64Nano(({start:Int64} - 0) * 1000000000, 'UTC') AND start_time < fromUnixTimestamp64Nano({end:Int64} * 1000000000, 'UTC')

-- tenant = 't1'
-- start = 1790000000
-- end = 1790003600
-- step = 1
