SELECT series, any(metric), toUnixTimestamp64Milli(max(ts)), argMax(batch, ts), argMax(tuple(schema, count), ts)
FROM tael.histograms FINAL
WHERE tenant = {tenant:String} AND metric IN (7) AND series IN (70)
  AND ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND reinterpretAsUInt64(sum) != 9218868437227405314 AND batch != 1
GROUP BY series

-- tenant = 't1'
-- since = 0
