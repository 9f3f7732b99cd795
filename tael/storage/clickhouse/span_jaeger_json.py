"""SQL expressions that encode a row of ``spans`` as Jaeger's JSON, up to its logs; pure text (see span_bytes.py).

The result equals that of services/query/api/jaeger/encode.py: tags in the order of their keys, times in microseconds. The reader adds the
process, the warnings and the closing brace. Lists and maps, and spans that repeat a key, cannot be encoded.
"""

from __future__ import annotations

from typing import Final

from tael.model.span import STATUS_ERROR, STATUS_OK
from tael.storage.clickhouse.span_expressions import DURATION_NS, NOT_UTF8, each

_EXACT: Final = 1 << 53
_KINDS: Final = ("internal", "server", "client", "producer", "consumer")
LAMBDAS: Final = {
    "real": (
        "t -> multiIf(t = 'nan', '\"NaN\"', t = 'inf', '\"Infinity\"', t = '-inf', '\"-Infinity\"', "
        "multiSearchAny(t, ['.', 'e']), t, concat(t, '.0'))"
    ),
    "whole": f"n -> if(n BETWEEN -{_EXACT} AND {_EXACT}, toString(n), concat('\"', toString(n), '\"'))",
    "micros": "t -> toString(intDiv(reinterpretAsUInt64(toUnixTimestamp64Nano(t)), 1000))",
    "tag": "(k, typed) -> concat('{\"key\":', toJSONString(k), ',\"type\":\"', typed, '}')",
    "text": 'v -> concat(\'string","value":\', toJSONString(v))',
    "tag_if_set": "(k, v) -> if(v = '', '', tag(k, text(v)))",
    "other": (
        "v -> multiIf(startsWith(v, 'i'), concat('int64\",\"value\":', whole(toInt64OrZero(substring(v, 2)))), "
        "startsWith(v, 'd'), concat('float64\",\"value\":', real(substring(v, 2))), "
        "startsWith(v, 't'), 'bool\",\"value\":true', startsWith(v, 'f'), 'bool\",\"value\":false', "
        f"startsWith(v, 'b'), concat('binary\",\"value\":\"', substring(v, 2), '\"'), {NOT_UTF8})"
    ),
    "strings": "m -> arrayMap((k, v) -> (k, tag(k, text(v))), mapKeys(m), mapValues(m))",
    "ints": 'm -> arrayMap((k, v) -> (k, tag(k, concat(\'int64","value":\', whole(v)))), mapKeys(m), mapValues(m))',
    "doubles": 'm -> arrayMap((k, v) -> (k, tag(k, concat(\'float64","value":\', real(toString(v))))), mapKeys(m), mapValues(m))',
    "bools": "m -> arrayMap((k, v) -> (k, tag(k, concat('bool\",\"value\":', if(v, 'true', 'false')))), mapKeys(m), mapValues(m))",
    "others": "m -> arrayFilter(p -> p.2 != '', arrayMap((k, v) -> (k, if(v = 'n', '', tag(k, other(v)))), mapKeys(m), mapValues(m)))",
    "joined": "parts -> arrayStringConcat(arrayFilter(part -> part != '', parts), ',')",
    "in_order": (
        f"pairs -> if(arrayUniq(pairs.1) = length(pairs), arrayStringConcat(arrayMap(p -> p.2, arraySort(pairs)), ','), {NOT_UTF8})"
    ),
    "reference": (
        '(kind, trace, span) -> concat(\'{"refType":"\', kind, \'","traceID":"\', lower(hex(trace)), \'","spanID":"\', lower(hex(span)), \'"}\')'
    ),
}


def expression() -> str:
    """The JSON of a row; it contains NOT_UTF8 where something cannot be encoded."""
    own = "arrayConcat(strings(attributes_string), ints(attributes_int), doubles(attributes_double), bools(attributes_bool), others(attributes_other))"
    event = (
        "concat('{\"timestamp\":', micros(event_time), ',\"fields\":[', "
        "joined([tag_if_set('event', event_name), in_order(arrayConcat(strings(texts), others(rest)))]), ']}')"
    )
    link = "reference(if(texts['opentracing.ref_type'] = 'child_of', 'CHILD_OF', 'FOLLOWS_FROM'), link_trace, link_span)"
    linked = "arrayExists((t, s) -> t = toString(trace_id) AND s = parent_span_id, links.trace_id, links.span_id)"
    tags = [
        "tag_if_set('otel.scope.name', toString(scope_name))",
        "tag_if_set('otel.scope.version', toString(scope_version))",
        f"in_order({own})",
        f"tag_if_set('span.kind', transform(kind, [1, 2, 3, 4, 5], [{', '.join(repr(name) for name in _KINDS)}], ''))",
        f"tag_if_set('otel.status_code', transform(status_code, [{STATUS_OK}, {STATUS_ERROR}], ['OK', 'ERROR'], ''))",
        f'if(status_code = {STATUS_ERROR}, \'{{"key":"error","type":"bool","value":true}}\', \'\')',
        "tag_if_set('otel.status_description', status_message)",
        "tag_if_set('w3c.tracestate', trace_state)",
    ]
    parts = [
        '\'{"traceID":"\'',
        "lower(hex(trace_id))",
        '\'","spanID":"\'',
        "lower(hex(span_id))",
        '\'","operationName":\'',
        "if(name = '', '\"empty-span-name\"', toJSONString(name))",
        "',\"references\":['",
        (
            f"joined([if(parent_span_id = '' OR {linked}, '', reference('CHILD_OF', trace_id, parent_span_id)), "
            f"arrayStringConcat({each('links', link, 'link_trace', 'link_span', 'texts')}, ',')])"
        ),
        "'],\"startTime\":'",
        "micros(start_time)",
        "',\"duration\":'",
        f"toString(intDiv({DURATION_NS}, 1000))",
        "',\"tags\":['",
        f"joined([{', '.join(tags)}])",
        "'],\"logs\":['",
        f"arrayStringConcat({each('events', event, 'event_name', 'event_time', 'texts', 'rest')}, ',')",
        "']'",
    ]
    return f"concat({', '.join(parts)})"
