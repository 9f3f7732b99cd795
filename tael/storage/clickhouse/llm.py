"""The typed columns of an LLM span as SQL, generated from the dialects in ``tael.otlp.genai``, and where its text is found.

One tuple is computed behind one condition, so that a span of anything else pays for a look at its keys and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

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
"""In the order of LlmCall's fields."""
_BEGINNING = 3
"""Bytes of a key that are looked at first; no marker is shorter."""
_SUMMED = [name for name in genai.KEYS for _ in genai.SUMS[name]]
"""The column of each group of keys that is summed."""
_ASKED = (*genai.KEYS.values(), *(group for name in genai.KEYS for group in genai.SUMS[name]))
"""The keys of each column, and behind them those groups."""


def _places() -> dict[str, int]:
    """Every key that is asked for, and its place: the order in which keys are asked, above 32 bits of those in ``_ASKED`` that ask for it."""
    order = {key: place for place, key in enumerate(dict.fromkeys(key for keys in _ASKED for key in keys), 1)}
    for keys in _ASKED:
        if sorted(keys, key=order.__getitem__) != list(keys):
            raise ValueError(f"another column asks for some of these keys in another order: {', '.join(keys)}")
    return {key: place << 32 | sum(1 << bit for bit, keys in enumerate(_ASKED) if key in keys) for key, place in order.items()}


_PLACES = _places()


def call_tuple(pairs: str) -> str:
    """The members of ``COLUMNS`` as one named tuple, from an expression of type Array(KeyValue)."""
    members = ", ".join(_member_of_column(name.removeprefix("llm_")) for name, _ in COLUMNS)
    kind = f"Tuple({', '.join(f'{name} {_plain(column_type)}' for name, column_type in COLUMNS)})"
    call = f"arrayMap(t -> CAST(tuple({members}), '{kind}'), {_found(pairs)})[1]"
    return f"if({_is_call(f'{pairs}.key')}, {call}, defaultValueOfTypeName('{kind}'))"


def _is_call(keys: str) -> str:
    # Every key of every span comes by here, and nearly all of them are ruled out by how they begin.
    beginnings = sorted({prefix[:_BEGINNING] for prefix in genai.MARKER_PREFIXES})
    marker = f"^({'|'.join(map(re.escape, genai.MARKER_PREFIXES))})"
    return f"arrayExists(k -> substring(k, 1, {_BEGINNING}) IN ({_listed(beginnings)}) AND match(k, {_listed([marker])}), {keys})"


def is_content(key: str) -> str:
    """Whether the SQL expression ``key`` names a prompt or a completion."""
    return f"({key} IN ({_listed(genai.PROMPT_KEYS + genai.COMPLETION_KEYS)}) OR {starts_with(key, genai.PROMPT_PREFIXES + genai.COMPLETION_PREFIXES)})"


def starts_with(key: str, prefixes: Iterable[str]) -> str:
    """Whether the SQL expression ``key`` starts with one of the prefixes."""
    return " OR ".join(f"startsWith({key}, {prefix})" for prefix in quoted(prefixes))


def _found(pairs: str) -> str:
    """An array that holds one tuple: the text of each column of ``genai.KEYS`` in their order, and for each group that is summed its sum or NULL.

    Attributes are sorted by the order in which keys are asked, each beside a number whose bits say who asks for it: a lookup by key in a map would
    copy the map for every key that is asked.
    """
    places = f"transform(k, [{_listed(_PLACES)}], [{', '.join(map(str, _PLACES.values()))}], 0)"
    texts = f"mapFilter((k, v) -> v != '', arrayMap(b -> {_with_json('b')}, {_texts(pairs)})[1])"
    placed = f"arrayMap(m -> arraySort(p -> p.1, arrayMap((k, v) -> ({places}, v), mapKeys(m), mapValues(m))), [{texts}])"
    first = "trim(BOTH '\"' FROM arrayFirst(p -> bitTest(p.1, column), placed).2)"
    sums = (_sum(f"arrayFilter(p -> bitTest(p.1, {bit}), placed).2") for bit in range(len(genai.KEYS), len(_ASKED)))
    return f"arrayMap(placed -> ({', '.join((f'arrayMap(column -> {first}, range({len(genai.KEYS)}))', *sums))}), {placed})"


def _texts(pairs: str) -> str:
    """An array that holds, as its one element, a map of the attributes that columns are read from: strings and numbers as text, and the first
    element of an array when that is a short string. Of a key that a span repeats the last value counts.
    """
    first_of_array = "if(startsWith(a, '\\n') AND substring(a, 3, 1) = '\\n', substring(a, 5, ascii(substring(a, 4, 1))), '')"
    text = (
        "multiIf(o = 'string_value', s, o = 'int_value', toString(i), o = 'double_value', toString(d), "
        f"o = 'array_value', {first_of_array}, '')"
    )
    arrays = "r.value.value, r.value.string_value, r.value.int_value, r.value.double_value, r.value.array_value"
    read = f"arrayFilter(x -> x.key IN ({_listed(sorted(genai.COLUMN_KEYS))}), {pairs})"
    # In reverse, so that the first of each key is the last that came: a map would keep all of them, and a sum would add them up.
    last = f"arrayMap(u -> arrayFilter((x, n) -> n = 1, u, arrayEnumerateUniq(u.key)), [arrayReverse({read})])"
    return f"arrayMap(r -> mapFromArrays(r.key, arrayMap((o, s, i, d, a) -> {text}, {arrays})), {last})"


def _with_json(texts: str) -> str:
    """The map and beside its entries the members of JSON objects that some column is read from."""
    asked = [key.split(genai.MEMBER) for key in sorted(genai.ALL_KEYS) if genai.MEMBER in key]
    owners, members = zip(*(pair for pair in asked if pair[1] != genai.EVERY_MEMBER), strict=True)
    summed = [owner for owner, member in asked if member == genai.EVERY_MEMBER]
    names = [
        *map(genai.MEMBER.join, zip(owners, members, strict=True)),
        *(f"{owner}{genai.MEMBER}{genai.EVERY_MEMBER}" for owner in summed),
    ]
    # Of null, true, lists and objects nothing is left, so that the next key is asked.
    member = f"multiIf(startsWith(j, '\"'), JSONExtractString({texts}[o], n), match(j, '^[-0-9]'), j, '')"
    raw = f"arrayMap((o, n) -> arrayMap(j -> {member}, [JSONExtractRaw({texts}[o], n)])[1], [{_listed(owners)}], [{_listed(members)}])"
    sums = f"arrayMap(o -> {_sum_of_object(f'{texts}[o]')}, [{_listed(summed)}])"
    updated = f"mapUpdate({texts}, mapFromArrays([{_listed(names)}], arrayConcat({raw}, {sums})))"
    return f"if(hasAny(mapKeys({texts}), [{_listed(sorted({*owners, *summed}))}]), {updated}, {texts})"


def _sum_of_object(text: str) -> str:
    return f"ifNull(toString({_sum(f'arrayMap(x -> x.2, JSONExtractKeysAndValuesRaw({text}))')}), '')"


def _sum(texts: str) -> str:
    """What the numbers among an array's texts add up to; NULL where there are none."""
    amounts = f"arrayFilter(n -> ifNull(n BETWEEN 0 AND {genai.MOST}, 0), arrayMap(t -> toFloat64OrNull(trim(BOTH '\"' FROM t)), {texts}))"
    return f"arrayMap(a -> if(empty(a), NULL, arraySum(arrayMap(n -> assumeNotNull(n), a))), [{amounts}])[1]"


def _member_of_column(column: str) -> str:
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
    """A number that can be counted or paid; NULL for every other."""
    return f"arrayMap(n -> if(n BETWEEN 0 AND {genai.MOST}, n, NULL), [toFloat64OrNull({_first(column)})])[1]"


def _sums_of(column: str) -> str:
    """What the parts of each group add up to, NULL where it has none."""
    return ", ".join(f"t.{2 + place}" for place, name in enumerate(_SUMMED) if name == column)


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
    """Texts of ours as SQL literals."""
    escaped = (text.replace("\\", "\\\\").replace("'", "\\'") for text in texts)
    return [f"'{text}'" for text in escaped]


_COMPUTED = {
    "provider": _provider(),
    "operation": _renamed(f"lower({_first('operation')})", genai.OPERATIONS, f"'{genai.OTHER_OPERATION}'"),
    "total_tokens": f"ifNull({_whole('total_tokens')}, {_whole('input_tokens')} + {_whole('output_tokens')})",
    "cost_usd": f"coalesce({_amount('cost_usd')}, {_sums_of('cost_usd')})",
    "ttft_ms": f"ifNull({_amount('ttft_seconds')} * 1000, {_amount('ttft_ms')})",
    "finish_reason": f"extract({_first('finish_reason')}, {_listed([genai.FIRST_REASON])})",
}
