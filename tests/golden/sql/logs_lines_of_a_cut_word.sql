SELECT sum(cardinality) FROM (SELECT cardinality FROM mergeTreeTextIndex('tael', 'logs', 'by_body_word') WHERE toUInt64OrZero(splitByChar('_', part_name)[1]) BETWEEN 1789999200 AND 1790002800 AND startsWith(token, {beginning:String}) LIMIT {most:UInt64})

-- beginning = '1234'
-- most = 1001
