SELECT groupArray(toUnixTimestamp(hour)), toUnixTimestamp64Nano(min(first_start)), toUnixTimestamp64Nano(max(last_start)), groupBitAnd(empty_in_all)
FROM tael.trace_index
WHERE tenant = {tenant:String} AND trace_id = toFixedString(unhex({trace_id:String}), 16)
HAVING count() > 0

-- tenant = 't1'
-- trace_id = '74747474747474747474747474747474'
