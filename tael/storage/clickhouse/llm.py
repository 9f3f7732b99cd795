"""The typed columns of an LLM span as SQL, generated from the dialects in ``tael.otlp.genai``, and the attributes that hold its text.

A single tuple is computed under a single condition, so that other spans cost no more than a look at their keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tael.model.time import NS_PER_MS
from tael.otlp import genai

_TEXT, _STRING, _WHOLE, _REAL = "LowCardinality(String)", "String", "Nullable(Int64)", "Nullable(Float64)"
COLUMNS = (
    ("llm_provider", _TEXT),
    ("llm_model", _TEXT),
    ("llm_operation", _TEXT),
    ("llm_input_tokens", _WHOLE),
    ("llm_output_tokens", _WHOLE),
    ("llm_total_tokens", _WHOLE),
    ("llm_cost_usd", _REAL),
    ("llm_ttft_ms", _REAL),
    ("llm_finish_reason", _TEXT),
    ("llm_temperature", _REAL),
    ("llm_response_model", _TEXT),
    ("llm_cache_read_tokens", _WHOLE),
    ("llm_cache_write_tokens", _WHOLE),
    ("llm_reasoning_tokens", _WHOLE),
    ("llm_session_id", _STRING),
    ("llm_user_id", _STRING),
    ("llm_agent_name", _TEXT),
    ("llm_tool_name", _TEXT),
)
"""The columns and their types, in the order of LlmCall's fields."""
_BEGINNING = 3
"""How many first bytes of a key are compared first; no marker is shorter."""
_SUMMED = [name for name in genai.KEYS for _ in genai.SUMS[name]]
"""The column of each group of keys whose values are summed."""
_ASKED = (*genai.KEYS.values(), *(group for name in genai.KEYS for group in genai.SUMS[name]), tuple(genai.IMPLIED))
"""The keys of each column, followed by the groups that are summed, and by the keys that imply an operation."""


def _places() -> dict[str, int]:
    """A number for every key that is read: its priority in the high bits and, in the low 32 bits, the set of entries of ``_ASKED`` that
    read it.
    """
    order = {key: place for place, key in enumerate(dict.fromkeys(key for keys in _ASKED for key in keys), 1)}
    for keys in _ASKED:
        if sorted(keys, key=order.__getitem__) != list(keys):
            raise ValueError(f"another column reads some of these keys in a different order: {', '.join(keys)}")
    return {key: place << 32 | sum(1 << bit for bit, keys in enumerate(_ASKED) if key in keys) for key, place in order.items()}


_PLACES = _places()


def call_tuple(span: str) -> str:
    """SQL for the values of ``COLUMNS`` as one named tuple, from an expression of type Span."""
    pairs = f"{span}.attributes"
    members = ", ".join(_member_of_column(name.removeprefix("llm_"), f"{span}.start_time_unix_nano") for name, _ in COLUMNS)
    kind = f"Tuple({', '.join(f'{name} {_plain(column_type)}' for name, column_type in COLUMNS)})"
    call = f"arrayMap(t -> CAST(tuple({members}), '{kind}'), {_found(pairs)})[1]"
    return f"if({_is_call(f'{pairs}.key')}, {call}, defaultValueOfTypeName('{kind}'))"


def _is_call(keys: str) -> str:
    # This is evaluated for every key of every span, and nearly all keys are ruled out by their first bytes.
    beginnings = sorted({prefix[:_BEGINNING] for prefix in genai.MARKER_PREFIXES})
    marker = f"^({'|'.join(map(re.escape, genai.MARKER_PREFIXES))})"
    return f"arrayExists(k -> substring(k, 1, {_BEGINNING}) IN ({_listed(beginnings)}) AND match(k, {_listed([marker])}), {keys})"


def is_content(key: str) -> str:
    """The condition that the SQL expression ``key`` names a prompt or a completion."""
    return f"({key} IN ({_listed(genai.PROMPT_KEYS + genai.COMPLETION_KEYS)}) OR {starts_with(key, genai.PROMPT_PREFIXES + genai.COMPLETION_PREFIXES)})"


def is_content_of(event: str, key: str) -> str:
    """The condition that ``key`` names one on an event whose name is the expression ``event``."""
    return f"({is_content(key)} OR {key} IN ({_listed(genai.EVENT_KEYS)}) AND {event} IN ({_listed(sorted(genai.SPOKEN))}))"


def starts_with(key: str, prefixes: Iterable[str]) -> str:
    """The condition that the SQL expression ``key`` starts with one of the prefixes."""
    return " OR ".join(f"startsWith({key}, {prefix})" for prefix in quoted(prefixes))


def _found(pairs: str) -> str:
    """An array with one tuple: the text of each column of ``genai.KEYS`` in their order, the place of the key that implies an operation,
    and for each summed group its sum or NULL.

    Attributes are sorted by the priority of their keys, each with the number of ``_places`` whose bits tell which columns read it: looking
    keys up in a map would copy the map for every key.
    """
    places = f"transform(k, [{_listed(_PLACES)}], [{', '.join(map(str, _PLACES.values()))}], 0)"
    texts = f"mapFilter((k, v) -> v != '', arrayMap(b -> {_with_json('b')}, {_texts(pairs)})[1])"
    placed = f"arrayMap(m -> arraySort(p -> p.1, arrayMap((k, v) -> ({places}, v), mapKeys(m), mapValues(m))), [{texts}])"
    first = "trim(BOTH '\"' FROM arrayFirst(p -> bitTest(p.1, column), placed).2)"
    texts = f"arrayMap(column -> {first}, range({len(genai.KEYS)}))"
    implied = f"bitShiftRight(arrayFirst(p -> bitTest(p.1, {len(_ASKED) - 1}), placed).1, 32)"
    sums = (_sum(f"arrayFilter(p -> bitTest(p.1, {bit}), placed).2") for bit in range(len(genai.KEYS), len(_ASKED) - 1))
    return f"arrayMap(placed -> ({', '.join((texts, implied, *sums))}), {placed})"


def _texts(pairs: str) -> str:
    """An array with one element: a map of the attributes that columns are read from, with strings and numbers as text, and an array as its
    first element when that is a short string. Of a repeated key the last value counts.
    """
    first_of_array = "if(startsWith(a, '\\n') AND substring(a, 3, 1) = '\\n', substring(a, 5, ascii(substring(a, 4, 1))), '')"
    text = (
        "multiIf(o = 'string_value', s, o = 'int_value', toString(i), o = 'double_value', toString(d), "
        f"o = 'array_value', {first_of_array}, '')"
    )
    arrays = "r.value.value, r.value.string_value, r.value.int_value, r.value.double_value, r.value.array_value"
    read = f"arrayFilter(x -> x.key IN ({_listed(sorted({*genai.COLUMN_KEYS, *genai.IMPLIED}))}), {pairs})"
    # Reversed, so that the first of each key is the last one received. A map would keep duplicates, and a sum would add them all.
    last = f"arrayMap(u -> arrayFilter((x, n) -> n = 1, u, arrayEnumerateUniq(u.key)), [arrayReverse({read})])"
    return f"arrayMap(r -> mapFromArrays(r.key, arrayMap((o, s, i, d, a) -> {text}, {arrays})), {last})"


def _with_json(texts: str) -> str:
    """The map, extended by those members of JSON objects that some column is read from."""
    asked = [key.split(genai.MEMBER) for key in sorted(genai.ALL_KEYS) if genai.MEMBER in key]
    paths = [path for path in asked if path[1] != genai.EVERY_MEMBER]
    owners, members, inner = zip(*((*path, "")[:3] for path in paths), strict=True)
    summed = [path[0] for path in asked if path[1] == genai.EVERY_MEMBER]
    names = [*map(genai.MEMBER.join, paths), *(f"{owner}{genai.MEMBER}{genai.EVERY_MEMBER}" for owner in summed)]
    # Null, booleans, lists and objects become empty, so that the next key is tried.
    member = "multiIf(startsWith(j, '\"'), JSONExtractString(j), match(j, '^[-0-9]'), j, '')"
    of_member = f"arrayMap(j -> if(i = '', j, JSONExtractRaw(j, i)), [JSONExtractRaw({texts}[o], n)])"
    raw = f"arrayMap((o, n, i) -> arrayMap(j -> {member}, {of_member})[1], [{_listed(owners)}], [{_listed(members)}], [{_listed(inner)}])"
    sums = f"arrayMap(o -> {_sum_of_object(f'{texts}[o]')}, [{_listed(summed)}])"
    updated = f"mapUpdate({texts}, mapFromArrays([{_listed(names)}], arrayConcat({raw}, {sums})))"
    return f"if(hasAny(mapKeys({texts}), [{_listed(sorted({*owners, *summed}))}]), {updated}, {texts})"


def _sum_of_object(text: str) -> str:
    return f"ifNull(toString({_sum(f'arrayMap(x -> x.2, JSONExtractKeysAndValuesRaw({text}))')}), '')"


def _sum(texts: str) -> str:
    """The sum of the numbers among an array's texts; NULL when there are none."""
    amounts = f"arrayFilter(n -> ifNull(n BETWEEN 0 AND {genai.MOST}, 0), arrayMap(t -> toFloat64OrNull(trim(BOTH '\"' FROM t)), {texts}))"
    return f"arrayMap(a -> if(empty(a), NULL, arraySum(arrayMap(n -> assumeNotNull(n), a))), [{amounts}])[1]"


def _member_of_column(column: str, start_ns: str) -> str:
    if column == "ttft_ms":
        return f"coalesce({_amount('ttft_seconds')} * 1000, {_amount('ttft_ms')}, {_ms_since(start_ns)})"
    if column in _COMPUTED:
        return _COMPUTED[column]
    if column.endswith("_tokens"):
        return _whole(column)
    return _number(column) if column == "temperature" else _first(column)


def _first(column: str) -> str:
    return f"t.1[{list(genai.KEYS).index(column) + 1}]"


def _number(column: str) -> str:
    return f"arrayMap(n -> if(isFinite(n), n, NULL), [toFloat64OrNull({_first(column)})])[1]"


def _amount(column: str) -> str:
    """The number if it can be a count or a price, NULL otherwise."""
    return f"arrayMap(n -> if(n BETWEEN 0 AND {genai.MOST}, n, NULL), [toFloat64OrNull({_first(column)})])[1]"


def _ms_since(start_ns: str) -> str:
    """Milliseconds from the start of the span to its first token; NULL if the time of that cannot be read, or is before it."""
    at = _first("first_token_at")
    read = f"parseDateTime64BestEffortOrNull(if(match({at}, {_listed([genai.INSTANT])}), {at}, ''), 9, 'UTC')"
    passed = f"(toUnixTimestamp64Nano({read}) - reinterpretAsInt64({start_ns})) / {NS_PER_MS}"
    return f"arrayMap(n -> if(n BETWEEN 0 AND {genai.MOST}, n, NULL), [{passed}])[1]"


def _sums_of(column: str) -> str:
    """The sums of the column's groups, each NULL when the group has no numbers."""
    return ", ".join(f"t.{3 + place}" for place, name in enumerate(_SUMMED) if name == column)


def _whole(column: str) -> str:
    return f"accurateCastOrNull({_amount(column)}, 'Int64')"


def _renamed(text: str, names: Mapping[str, str], otherwise: str) -> str:
    return f"transform({text}, [{_listed(names)}], [{_listed(names.values())}], {otherwise})"


def _provider() -> str:
    base = f"replaceRegexpOne(lower({_first('provider')}), {_listed([genai.PROVIDER_SUFFIX])}, '')"
    return f"arrayMap(p -> {_renamed('p', genai.PROVIDERS, 'p')}, [{base}])[1]"


def _plain(column_type: str) -> str:
    return column_type.replace("LowCardinality(String)", "String")


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(quoted(texts))


def quoted(texts: Iterable[str]) -> list[str]:
    """Texts as SQL literals. Only for texts from this repository, never for input."""
    escaped = (text.replace("\\", "\\\\").replace("'", "\\'") for text in texts)
    return [f"'{text}'" for text in escaped]


def _operation() -> str:
    named = _renamed(f"lower({_first('operation')})", genai.OPERATIONS, f"'{genai.OTHER_OPERATION}'")
    places = ", ".join(str(_PLACES[key] >> 32) for key in genai.IMPLIED)
    implied = f"transform(t.2, [{places}], [{_listed(genai.IMPLIED.values())}], '{genai.OTHER_OPERATION}')"
    return f"if({_first('operation')} = '', {implied}, {named})"


def _or_entity(column: str, operations: Iterable[str]) -> str:
    """The column, or else what a span of these operations stands for."""
    return f"if({_first(column)} = '' AND {_operation()} IN ({_listed(operations)}), {_first('entity')}, {_first(column)})"


_COMPUTED = {
    "provider": _provider(),
    "operation": _operation(),
    "agent_name": _or_entity("agent_name", genai.AGENTS),
    "tool_name": _or_entity("tool_name", [genai.TOOL]),
    "total_tokens": f"ifNull({_whole('total_tokens')}, {_whole('input_tokens')} + {_whole('output_tokens')})",
    "cost_usd": f"coalesce({_amount('cost_usd')}, {_sums_of('cost_usd')})",
    "finish_reason": f"extract({_first('finish_reason')}, {_listed([genai.FIRST_REASON])})",
}
