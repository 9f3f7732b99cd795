"""SQL expressions that encode a row of ``spans`` as protobuf's JSON of an OTLP span; pure text (see span_bytes.py).

As in protobuf's own mapping, fields that are unset, zero or empty are left out, and 64-bit integers are strings. The two forms differ in
ids and enums:

    proto_json  ids in base64, names of enumerations (Tempo)
    otlp_json   ids in hex, numbers of enumerations (OTLP/JSON, Jaeger)
"""

from __future__ import annotations

from typing import Final

from tael.storage.clickhouse.span_expressions import NOT_UTF8, each

_KINDS: Final = ("INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES: Final = ("OK", "ERROR")


def lambdas(*, hex_ids: bool) -> dict[str, str]:
    """The lambdas that ``expression`` uses, by name. Those that produce a field begin it with a comma."""
    id_text = "lower(hex(b))" if hex_ids else "base64Encode(b)"
    return {
        "real": "t -> multiIf(t = 'nan', '\"NaN\"', t = 'inf', '\"Infinity\"', t = '-inf', '\"-Infinity\"', t)",
        "other": (
            "v -> multiIf(startsWith(v, 'n'), '', startsWith(v, 'i'), concat('\"intValue\":\"', substring(v, 2), '\"'), "
            "startsWith(v, 'd'), concat('\"doubleValue\":', real(substring(v, 2))), "
            "startsWith(v, 't'), '\"boolValue\":true', startsWith(v, 'f'), '\"boolValue\":false', "
            f"startsWith(v, 'b'), concat('\"bytesValue\":\"', substring(v, 2), '\"'), {NOT_UTF8})"
        ),
        "pair": "(k, v) -> concat('{', if(k = '', '', concat('\"key\":', toJSONString(k), ',')), '\"value\":{', v, '}}')",
        "strings": "m -> arrayMap((k, v) -> pair(k, concat('\"stringValue\":', toJSONString(v))), mapKeys(m), mapValues(m))",
        "ints": "m -> arrayMap((k, v) -> pair(k, concat('\"intValue\":\"', toString(v), '\"')), mapKeys(m), mapValues(m))",
        "doubles": "m -> arrayMap((k, v) -> pair(k, concat('\"doubleValue\":', real(toString(v)))), mapKeys(m), mapValues(m))",
        "bools": "m -> arrayMap((k, v) -> pair(k, concat('\"boolValue\":', if(v, 'true', 'false'))), mapKeys(m), mapValues(m))",
        "others": "m -> arrayMap((k, v) -> pair(k, other(v)), mapKeys(m), mapValues(m))",
        "listed": "(field, items) -> if(empty(items), '', concat(',\"', field, '\":[', arrayStringConcat(items, ','), ']'))",
        "text": "(field, s) -> if(s = '', '', concat(',\"', field, '\":', toJSONString(s)))",
        "count_of": "(field, n) -> if(n = 0, '', concat(',\"', field, '\":', toString(n)))",
        "stamp": "(field, ns) -> if(ns = 0, '', concat(',\"', field, '\":\"', toString(reinterpretAsUInt64(ns)), '\"'))",
        "identity": f"(field, b) -> if(b = '', '', concat(',\"', field, '\":\"', {id_text}, '\"'))",
        "braced": "fields -> concat('{', substring(fields, 2), '}')",
    }


def expression(*, named: bool) -> str:
    """The JSON of a row, with enums by name if ``named``; it contains NOT_UTF8 where something cannot be encoded."""
    own = "arrayConcat(strings(attributes_string), ints(attributes_int), doubles(attributes_double), bools(attributes_bool), others(attributes_other))"
    event = (
        "braced(concat(stamp('timeUnixNano', toUnixTimestamp64Nano(event_time)), text('name', event_name), "
        "listed('attributes', arrayConcat(strings(texts), others(rest))), count_of('droppedAttributesCount', dropped)))"
    )
    link = (
        "braced(concat(identity('traceId', link_trace), identity('spanId', link_span), text('traceState', state), "
        "listed('attributes', arrayConcat(strings(texts), others(rest))), count_of('droppedAttributesCount', dropped), count_of('flags', link_flags)))"
    )
    status = f"braced(concat(text('message', status_message), {_enum('code', 'status_code', 'STATUS_CODE_', _STATUSES, named=named)}))"
    fields = [
        "identity('traceId', trace_id)",
        "identity('spanId', span_id)",
        "text('traceState', trace_state)",
        "identity('parentSpanId', parent_span_id)",
        "text('name', name)",
        _enum("kind", "kind", "SPAN_KIND_", _KINDS, named=named),
        "stamp('startTimeUnixNano', toUnixTimestamp64Nano(start_time))",
        "stamp('endTimeUnixNano', toUnixTimestamp64Nano(start_time) + duration_ns)",
        f"listed('attributes', {own})",
        "count_of('droppedAttributesCount', dropped_attributes_count)",
        f"listed('events', {each('events', event, 'event_name', 'event_time', 'texts', 'rest', 'dropped')})",
        "count_of('droppedEventsCount', dropped_events_count)",
        f"listed('links', {each('links', link, 'link_trace', 'link_span', 'state', 'link_flags', 'texts', 'rest', 'dropped')})",
        "count_of('droppedLinksCount', dropped_links_count)",
        f"if(status_code = 0 AND status_message = '', '', concat(',\"status\":', {status}))",
        "count_of('flags', flags)",
    ]
    return f"braced(concat({', '.join(fields)}))"


def _enum(field: str, column: str, prefix: str, names: tuple[str, ...], *, named: bool) -> str:
    """The field of an enum, which is left out for 0; a value without a name stays a number."""
    if not named:
        return f"count_of('{field}', {column})"
    listed = ", ".join(f"'\"{prefix}{name}\"'" for name in names)
    numbers = ", ".join(str(number) for number in range(1, len(names) + 1))
    return f"if({column} = 0, '', concat(',\"{field}\":', transform({column}, [{numbers}], [{listed}], toString({column}))))"
