SELECT 0 AS own_stream, line_level != '' AND toString(body_type) = {p3:String} AND match(body, {p4:String}) AND NOT match(body, {p5:String}) AND NOT arrayExists(x -> match(x, {p6:String}), arrayConcat(mapKeys(attributes_string), mapKeys(attributes_int), mapKeys(attributes_double), mapKeys(attributes_bool), mapKeys(attributes_other), mapKeys(resource_string), mapKeys(resource_int), mapKeys(resource_double), mapKeys(resource_bool), mapKeys(resource_other), mapKeys(scope_string), mapKeys(scope_other))) AS known, '' AS severity, 0 AS slot_number, countIf(NOT known OR extract(body, {value:String}) != ''), sumIf(toInt64OrZero(extract(body, {value:String})), known), if(known, extract(body, {text_0:String}), '') AS text_0
FROM tael.logs
WHERE tenant = {tenant:String}
  AND timestamp >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
GROUP BY own_stream, known, severity, slot_number, text_0
LIMIT {limit:UInt64}

-- tenant = 't1'
-- start = 1790000000000000000
-- end = 1790003600000000000
-- p3 = 'string'
-- p4 = '(?-s:^[ \\t\\r\\n]*\\{[ \\t\\r\\n]*(?:"[A-Za-z][A-Za-z0-9_.-]*"[ \\t\\r\\n]*:[ \\t\\r\\n]*(?:(?:"(?:[^"\\\\]|\\\\(?:["\\\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)|\\[[ \\t\\r\\n]*(?:(?:"(?:[^"\\\\]|\\\\(?:["\\\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)[ \\t\\r\\n]*(?:,[ \\t\\r\\n]*(?:"(?:[^"\\\\]|\\\\(?:["\\\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)[ \\t\\r\\n]*)*)?\\])[ \\t\\r\\n]*(?:,[ \\t\\r\\n]*"[A-Za-z][A-Za-z0-9_.-]*"[ \\t\\r\\n]*:[ \\t\\r\\n]*(?:(?:"(?:[^"\\\\]|\\\\(?:["\\\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)|\\[[ \\t\\r\\n]*(?:(?:"(?:[^"\\\\]|\\\\(?:["\\\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)[ \\t\\r\\n]*(?:,[ \\t\\r\\n]*(?:"(?:[^"\\\\]|\\\\(?:["\\\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)[ \\t\\r\\n]*)*)?\\])[ \\t\\r\\n]*)*)?\\}[ \\t\\r\\n]*$)'
-- p5 = '(?-s:"status"[ \\t\\r\\n]*:[ \\t\\r\\n]*(?:""|"[ !#-\\[\\]-~]*(?:\\\\|[^ -~])|null|\\[))'
-- p6 = '(?-s:^[^a-zA-Z0-9]*(?:status)?[^a-zA-Z0-9]*$)'
-- limit = 9
-- text_0 = '"status"[ \\t\\r\\n]*:[ \\t\\r\\n]*("[^"]*"|[^",}\\s]+)'
-- value = '"took[_.-]ms"[ \\t\\r\\n]*:[ \\t\\r\\n]*("[^"]*"|[^",}\\s]+)'
