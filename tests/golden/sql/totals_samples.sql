SELECT series, any(metric), toUnixTimestamp64Milli(max(ts)), argMax(batch, ts), argMax(tuple(value), ts)
FROM tael.samples FINAL
WHERE tenant = {tenant:String} AND metric IN (5, 7) AND series IN (70, 51, 71)
  AND ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND reinterpretAsUInt64(value) != 9218868437227405314 AND batch != 1
GROUP BY series

-- tenant = 't1'
-- since = 1790000000000
