"""The typed columns of an LLM span as SQL, generated from the dialects in ``tael.otlp.genai``, and where its text is found.

One tuple is computed behind one condition, so that a span of anything else pays for a look at its keys and no more.
"""

from __future__ import annotations

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


def call_tuple(pairs: str) -> str:
    """The members of ``COLUMNS`` as one named tuple, from an expression of type Array(KeyValue)."""
    condition = f"arrayExists(k -> {starts_with('k', genai.MARKER_PREFIXES)}, {pairs}.key)"
    members = ", ".join(_member_of_column(name.removeprefix("llm_")) for name, _ in COLUMNS)
    kind = f"Tuple({', '.join(f'{name} {_plain(column_type)}' for name, column_type in COLUMNS)})"
    call = f"arrayMap(m -> CAST(tuple({members}), '{kind}'), arrayMap(b -> {_with_json('b')}, [{_texts(pairs)}]))[1]"
    return f"if({condition}, {call}, defaultValueOfTypeName('{kind}'))"


def is_content(key: str) -> str:
    """Whether the SQL expression ``key`` names a prompt or a completion."""
    exact = ", ".join(quoted(genai.PROMPT_KEYS + genai.COMPLETION_KEYS))
    return f"({key} IN ({exact}) OR {starts_with(key, genai.PROMPT_PREFIXES + genai.COMPLETION_PREFIXES)})"


def starts_with(key: str, prefixes: Iterable[str]) -> str:
    """Whether the SQL expression ``key`` starts with one of the prefixes."""
    return " OR ".join(f"startsWith({key}, {prefix})" for prefix in quoted(prefixes))


def _texts(pairs: str) -> str:
    """A map of every attribute's text: strings and numbers, and the first element of an array when that is a short string.

    The empty key has none: it is what ``_first`` asks for when no key is there.
    """
    value = f"{pairs}.value"
    first_of_array = "if(startsWith(a, '\\n') AND substring(a, 3, 1) = '\\n', substring(a, 5, ascii(substring(a, 4, 1))), '')"
    text = (
        "multiIf(k = '', '', o = 'string_value', s, o = 'int_value', toString(i), o = 'double_value', toString(d), "
        f"o = 'array_value', {first_of_array}, '')"
    )
    arrays = f"{value}.value, {value}.string_value, {value}.int_value, {value}.double_value, {value}.array_value"
    return f"mapFromArrays({pairs}.key, arrayMap((k, o, s, i, d, a) -> {text}, {pairs}.key, {arrays}))"


def _with_json(texts: str) -> str:
    """The map and beside its entries the members of JSON objects that some column is read from."""
    keys = sorted(key for key in genai.ALL_KEYS if genai.MEMBER in key)
    values = ", ".join(_json_member(texts, *key.split(genai.MEMBER)) for key in keys)
    return f"mapUpdate({texts}, mapFromArrays([{', '.join(quoted(keys))}], [{values}]))"


def _json_member(texts: str, name: str, member: str) -> str:
    text = f"{texts}['{name}']"
    if member != genai.EVERY_MEMBER:
        return f"trim(BOTH '\"' FROM JSONExtractRaw({text}, '{member}'))"
    return f"ifNull(toString({_sum(f'arrayMap(x -> x.2, JSONExtractKeysAndValuesRaw({text}))')}), '')"


def _sum(texts: str) -> str:
    """What the numbers among an array's texts add up to; NULL where there are none."""
    amounts = f"arrayFilter(n -> ifNull(n >= 0 AND isFinite(n), 0), arrayMap(t -> toFloat64OrNull(trim(BOTH '\"' FROM t)), {texts}))"
    return f"arrayMap(a -> if(empty(a), NULL, arraySum(arrayMap(n -> assumeNotNull(n), a))), [{amounts}])[1]"


def _member_of_column(column: str) -> str:
    if column in _COMPUTED:
        return _COMPUTED[column]
    if column.endswith("_tokens"):
        return _whole(column)
    return _number(column) if column == "temperature" else _first(column)


def _first(column: str) -> str:
    listed = ", ".join(quoted(genai.KEYS[column]))
    return f"trim(BOTH '\"' FROM m[arrayFirst(k -> m[k] != '', [{listed}])])"


def _number(column: str) -> str:
    return f"toFloat64OrNull({_first(column)})"


def _amount(column: str) -> str:
    """A number that is not negative; NULL for every other, and for what is beyond all."""
    return f"arrayMap(n -> if(n >= 0 AND isFinite(n), n, NULL), [{_number(column)}])[1]"


def _sum_of(column: str) -> str:
    """What the parts of the first group that has any add up to."""
    return ", ".join(_sum(f"arrayMap(k -> m[k], [{', '.join(quoted(group))}])") for group in genai.SUMS[column])


def _whole(column: str) -> str:
    return f"accurateCastOrNull({_amount(column)}, 'Int64')"


def _renamed(text: str, names: Mapping[str, str], otherwise: str) -> str:
    return f"transform({text}, [{', '.join(quoted(names))}], [{', '.join(quoted(names.values()))}], {otherwise})"


def _provider() -> str:
    base = f"replaceRegexpOne(lower({_first('provider')}), {quoted([genai.PROVIDER_SUFFIX])[0]}, '')"
    return f"arrayMap(p -> {_renamed('p', genai.PROVIDERS, 'p')}, [{base}])[1]"


def _plain(column_type: str) -> str:
    return column_type.replace("LowCardinality(String)", "String")


def quoted(texts: Iterable[str]) -> list[str]:
    """Texts of ours as SQL literals."""
    escaped = (text.replace("\\", "\\\\").replace("'", "\\'") for text in texts)
    return [f"'{text}'" for text in escaped]


_COMPUTED = {
    "provider": _provider(),
    "operation": _renamed(f"lower({_first('operation')})", genai.OPERATIONS, f"'{genai.OTHER_OPERATION}'"),
    "total_tokens": f"ifNull({_whole('total_tokens')}, {_whole('input_tokens')} + {_whole('output_tokens')})",
    "cost_usd": f"coalesce({_amount('cost_usd')}, {_sum_of('cost_usd')})",
    "ttft_ms": f"ifNull({_amount('ttft_seconds')} * 1000, {_amount('ttft_ms')})",
    "finish_reason": f"extract({_first('finish_reason')}, {quoted([genai.FIRST_REASON])[0]})",
}
