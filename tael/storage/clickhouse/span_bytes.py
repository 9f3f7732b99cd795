"""SQL expressions that encode a row of ``spans`` as bytes of an answer, so that no Python object is made of it; pure text.

    json    the native API's JSON of a span up to ``"flags":0``: the reader adds resource, scope and the closing brace
    otlp    ``opentelemetry.proto.trace.v1.Span`` in protobuf, without tag and length
    jaeger  Jaeger's JSON of the span up to its logs (span_jaeger_json.py)
    others  OTLP's JSON of the span (span_proto_json.py)

The bytes are empty if these expressions cannot encode the row, which then has to be read as a Span: in ``json`` for spans of LLM calls and
times after 2262, in every JSON for lists and maps, and everywhere for references to payloads and texts that are not UTF-8.

Lambdas serve as functions: ClickHouse expands them where they are used, and computes an expression that then occurs twice only once.
"""

from __future__ import annotations

from typing import Final

from tael.model.payload import PREFIX
from tael.model.span import KIND_NAMES, STATUS_NAMES
from tael.storage.clickhouse import span_jaeger_json, span_proto_json
from tael.storage.clickhouse.flatten import MAP_NAMES
from tael.storage.clickhouse.span_expressions import DURATION_NS, NOT_UTF8, each
from tael.storage.long_traces import Form

SETTINGS: Final = {"output_format_json_escape_forward_slashes": 0, "output_format_json_quote_64bit_integers": 0}
"""The settings that statements with the JSON forms need."""

_EXACT_NS: Final = 1 << 53
_START: Final = "toUnixTimestamp64Nano(start_time)"
_END: Final = f"({_START} + duration_ns)"


def lambdas(form: Form) -> str:
    """The text after WITH in a statement that uses ``expression``."""
    return ",\n  ".join(f"{text} AS {name}" for name, text in _LAMBDAS[form].items())


def expression(form: Form) -> str:
    """The bytes of a row, for a statement that defines ``lambdas``."""
    match form:
        case "json":
            return _json()
        case "otlp":
            return _otlp()
        case "jaeger":
            return _plain(span_jaeger_json.expression())
        case _:
            return _plain(span_proto_json.expression(named=form == "proto_json"))


_JSON_LAMBDAS: Final = {
    "real": (
        "t -> multiIf(t = 'nan', '{\"$double\":\"NaN\"}', t = 'inf', '{\"$double\":\"Infinity\"}', t = '-inf', '{\"$double\":\"-Infinity\"}', "
        "multiSearchAny(t, ['.', 'e']), t, concat(t, '.0'))"
    ),
    "other": (
        "v -> multiIf(startsWith(v, 'n'), 'null', startsWith(v, 'i'), substring(v, 2), startsWith(v, 'd'), real(substring(v, 2)), "
        "startsWith(v, 't'), 'true', startsWith(v, 'f'), 'false', "
        f"startsWith(v, 'b'), concat('{{\"$bytes\":\"', substring(v, 2), '\"}}'), {NOT_UTF8})"
    ),
    "inside": "m -> substring(toJSONString(m), 2, length(toJSONString(m)) - 2)",
    "reals": "m -> arrayStringConcat(arrayMap((k, v) -> concat(toJSONString(k), ':', real(toString(v))), mapKeys(m), mapValues(m)), ',')",
    "others": "m -> arrayStringConcat(arrayMap((k, v) -> concat(toJSONString(k), ':', other(v)), mapKeys(m), mapValues(m)), ',')",
    "object": "parts -> concat('{', arrayStringConcat(arrayFilter(part -> part != '', parts), ','), '}')",
    "stamp": f"t -> if(toUnixTimestamp64Nano(t) < 0, {NOT_UTF8}, concat('\"', replaceOne(toString(t), ' ', 'T'), 'Z\"'))",
}
_OTLP_LAMBDAS: Final = {
    # char takes its arguments modulo 256, so higher bits need not be masked.
    "varint": (
        "n -> multiIf(n < 128, char(n), n < 16384, char(bitOr(n, 128), bitShiftRight(n, 7)), "
        "n < 2097152, char(bitOr(n, 128), bitOr(bitShiftRight(n, 7), 128), bitShiftRight(n, 14)), "
        "char(bitOr(n, 128), bitOr(bitShiftRight(n, 7), 128), bitOr(bitShiftRight(n, 14), 128), bitShiftRight(n, 21)))"
    ),
    # Protobuf accepts a varint with more bytes than necessary, up to ten: a longer number always takes ten.
    "varint64": f"n -> if(n < 268435456, varint(n), char({', '.join(f'bitOr(bitShiftRight(n, {bits}), 128)' for bits in range(0, 63, 7))}, bitShiftRight(n, 63)))",
    "framed": "s -> concat(varint(length(s)), s)",
    "text": "(tag, s) -> if(s = '', '', concat(tag, framed(s)))",
    "whole_number": "(tag, n) -> if(n = 0, '', concat(tag, varint64(toUInt64(n))))",
    "fixed": "n -> reinterpretAsFixedString(n)",
    # ``framed`` uses its argument twice. Here the argument is an element of an array, so that a long expression is not expanded twice.
    "frames": "(tag, messages) -> arrayMap(s -> concat(tag, framed(s)), messages)",
    "pairs": "(tag, ks, vs) -> arrayStringConcat(frames(tag, arrayMap((k, v) -> concat('\\x0a', framed(k), '\\x12', framed(v)), ks, vs)))",
    "strings": "(tag, m) -> pairs(tag, mapKeys(m), frames('\\x0a', mapValues(m)))",
    "other": (
        "v -> multiIf(startsWith(v, 'n'), '', startsWith(v, 'i'), concat('\\x18', varint64(reinterpretAsUInt64(toInt64OrZero(substring(v, 2))))), "
        "startsWith(v, 'd'), concat('\\x21', fixed(toFloat64OrZero(substring(v, 2)))), "
        "startsWith(v, 't'), '\\x10\\x01', startsWith(v, 'f'), '\\x10\\0', "
        "concat(multiIf(startsWith(v, 'a'), '\\x2a', startsWith(v, 'k'), '\\x32', '\\x3a'), framed(base64Decode(substring(v, 2)))))"
    ),
    "others": "(tag, m) -> pairs(tag, mapKeys(m), arrayMap(v -> other(v), mapValues(m)))",
    "words": "m -> concat(arrayStringConcat(mapKeys(m), ' '), ' ', arrayStringConcat(mapValues(m), ' '))",
}
_LAMBDAS: Final[dict[Form, dict[str, str]]] = {
    "json": _JSON_LAMBDAS,
    "otlp": _OTLP_LAMBDAS,
    "jaeger": span_jaeger_json.LAMBDAS,
    "proto_json": span_proto_json.lambdas(hex_ids=False),
    "otlp_json": span_proto_json.lambdas(hex_ids=True),
}


def _json() -> str:
    parts = [
        '\'{"trace_id":"\'',
        "lower(hex(trace_id))",
        '\'","span_id":"\'',
        "lower(hex(span_id))",
        '\'","parent_span_id":\'',
        "if(parent_span_id = '', 'null', concat('\"', lower(hex(parent_span_id)), '\"'))",
        "',\"service\":'",
        "toJSONString(service)",
        "',\"operation\":'",
        "toJSONString(name)",
        "',\"start_time\":'",
        "stamp(start_time)",
        "',\"end_time\":'",
        f"stamp(fromUnixTimestamp64Nano({_END}, 'UTC'))",
        "',\"duration_ms\":'",
        f"real(toString({DURATION_NS} / 1000000))",
        '\',"status":"\'',
        _named("status_code", STATUS_NAMES),
        '\'","status_message":\'',
        "toJSONString(status_message)",
        '\',"kind":"\'',
        _named("kind", KIND_NAMES),
        '\'","span_kind":"\'',
        _named("kind", KIND_NAMES),
        '\'","attributes":\'',
        "object([inside(attributes_string), inside(attributes_int), reals(attributes_double), inside(attributes_bool), others(attributes_other)])",
        "',\"dropped_attributes_count\":'",
        "toString(dropped_attributes_count)",
        "',\"events\":['",
        _joined(each("events", _JSON_EVENT, "event_name", "event_time", "texts", "rest", "dropped")),
        "'],\"dropped_events_count\":'",
        "toString(dropped_events_count)",
        "',\"links\":['",
        _joined(each("links", _JSON_LINK, "link_trace", "link_span", "state", "link_flags", "texts", "rest", "dropped")),
        "'],\"dropped_links_count\":'",
        "toString(dropped_links_count)",
        "',\"trace_state\":'",
        "toJSONString(trace_state)",
        "',\"flags\":'",
        "toString(flags)",
    ]
    whole = f"concat({', '.join(parts)})"
    # Beyond 2^53 ns the duration would be rounded before it is divided, and would differ from Python's exact division.
    plain = f"llm_operation = '' AND abs(duration_ns) < {_EXACT_NS}"
    return f"if({plain}, {_plain(whole)}, '')"


def _plain(text: str) -> str:
    """The text, or an empty one if it contains something that cannot be encoded or a reference to a payload."""
    return f"arrayMap(b -> if(isValidUTF8(b) AND position(b, '{PREFIX}') = 0, b, ''), [{text}])[1]"


def _joined(texts: str) -> str:
    return f"arrayStringConcat({texts}, ',')"


def _named(number: str, names: tuple[str, ...]) -> str:
    listed = ", ".join(f"'{name}'" for name in names)
    return f"transform({number}, [{', '.join(map(str, range(len(names))))}], [{listed}], toString({number}))"


_JSON_EVENT: Final = (
    "concat('{\"name\":', toJSONString(event_name), ',\"timestamp\":', stamp(event_time), ',\"attributes\":', object([inside(texts), others(rest)]), "
    "',\"dropped_attributes_count\":', toString(dropped), '}')"
)
_JSON_LINK: Final = (
    'concat(\'{"trace_id":"\', lower(hex(link_trace)), \'","span_id":"\', lower(hex(link_span)), \'","trace_state":\', toJSONString(state), '
    "',\"flags\":', toString(link_flags), ',\"attributes\":', object([inside(texts), others(rest)]), ',\"dropped_attributes_count\":', toString(dropped), '}')"
)


def _pairs(name: str, value: str) -> str:
    """The attributes of a map of numbers or booleans, with ``value`` as the encoding of a value ``v``."""
    column = f"attributes_{name}"
    return f"pairs('\\x4a', mapKeys({column}), arrayMap(v -> {value}, mapValues({column})))"


def _frames(tag: str, messages: str) -> str:
    return f"arrayStringConcat(frames('\\x{tag}', {messages}))"


def _otlp() -> str:
    event = (
        "concat('\\x09', fixed(toUnixTimestamp64Nano(event_time)), text('\\x12', event_name), strings('\\x1a', texts), others('\\x1a', rest), "
        "whole_number('\\x20', dropped))"
    )
    link = (
        "concat(text('\\x0a', link_trace), text('\\x12', link_span), text('\\x1a', state), strings('\\x22', texts), others('\\x22', rest), "
        "whole_number('\\x28', dropped), if(link_flags = 0, '', concat('\\x35', fixed(link_flags))))"
    )
    status = "concat(text('\\x12', status_message), whole_number('\\x18', toInt64(status_code)))"
    parts = [
        "'\\x0a\\x10'",
        "trace_id",
        "'\\x12\\x08'",
        "span_id",
        "text('\\x1a', trace_state)",
        "text('\\x22', parent_span_id)",
        "text('\\x2a', name)",
        "whole_number('\\x30', toInt64(kind))",
        "'\\x39'",
        f"fixed({_START})",
        "'\\x41'",
        f"fixed({_END})",
        "strings('\\x4a', attributes_string)",
        _pairs("int", "concat('\\x18', varint64(reinterpretAsUInt64(v)))"),
        _pairs("double", "concat('\\x21', fixed(v))"),
        _pairs("bool", "if(v, '\\x10\\x01', '\\x10\\0')"),
        "others('\\x4a', attributes_other)",
        "whole_number('\\x50', dropped_attributes_count)",
        _frames("5a", each("events", event, "event_time", "event_name", "texts", "rest", "dropped")),
        "whole_number('\\x60', dropped_events_count)",
        _frames("6a", each("links", link, "link_trace", "link_span", "state", "link_flags", "texts", "rest", "dropped")),
        "whole_number('\\x70', dropped_links_count)",
        f"if(status_code = 0 AND status_message = '', '', {_frames('7a', f'[{status}]')})",
        "if(flags = 0, '', concat(char(133, 1), fixed(flags)))",
    ]
    checked = [
        "name",
        "status_message",
        "trace_state",
        *(f"words(attributes_{name})" for name in ("string", "other")),
        *(f"arrayStringConcat(mapKeys(attributes_{name}), ' ')" for name in MAP_NAMES if name not in ("string", "other")),
        "arrayStringConcat(events.name, ' ')",
        "arrayStringConcat(arrayMap(m -> words(m), arrayConcat(events.attributes_string, events.attributes_other)), ' ')",
        "arrayStringConcat(links.trace_state, ' ')",
        "arrayStringConcat(arrayMap(m -> words(m), arrayConcat(links.attributes_string, links.attributes_other)), ' ')",
    ]
    whole = f"concat({', '.join(parts)})"
    return f"if(isValidUTF8(concatWithSeparator(' ', {', '.join(checked)})), arrayMap(b -> if(position(b, '{PREFIX}') = 0, b, ''), [{whole}])[1], '')"
