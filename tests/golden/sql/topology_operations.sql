SELECT DISTINCT name, kind
FROM tael.red
WHERE tenant = {tenant:String}
  AND slot >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND slot < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND service = {service:String}
LIMIT 100001

-- tenant = 't1'
-- start = 1789999995000000000
-- end = 1790003600000000000
-- service = 'shop'
