SELECT DISTINCT arrayJoin(mapKeys(labels)) AS found
FROM tael.series
WHERE tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC') AND found != ''
ORDER BY found

-- tenant = 't1'
-- first_hour = 0
-- last_hour = 0
