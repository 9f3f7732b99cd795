SELECT name, type, unit, help
FROM tael.metric_families
WHERE tenant = {tenant:String} AND name = {metric:String}
GROUP BY name, type, unit, help
ORDER BY name, type, unit, help
LIMIT {limit:UInt64}

-- tenant = 't1'
-- metric = 'up'
-- limit = 5
