SELECT name, type, unit, help
FROM tael.metric_families
WHERE tenant = {tenant:String}
GROUP BY name, type, unit, help
ORDER BY name, type, unit, help

-- tenant = 't1'
