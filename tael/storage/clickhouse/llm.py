"""The typed columns of an LLM span as SQL, generated from the dialects in ``tael.otlp.genai``, and where its text is found.

One tuple is computed behind one condition, so that a span of anything else pays for a look at its keys and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tael.otlp import genai

COLUMNS = (
    ("llm_provider", "LowCardinality(String)"),
    ("llm_model", "LowCardinality(String)"),
    ("llm_operation", "LowCardinality(String)"),
    ("llm_input_tokens", "Nullable(Int64)"),
    ("llm_output_tokens", "Nullable(Int64)"),
    ("llm_total_tokens", "Nullable(Int64)"),
    ("llm_cost_usd", "Nullable(Float64)"),
    ("llm_ttft_ms", "Nullable(Float64)"),
    ("llm_finish_reason", "LowCardinality(String)"),
    ("llm_temperature", "Nullable(Float64)"),
)


def call_tuple(pairs: str) -> str:
    """The members of ``COLUMNS`` as one named tuple, from an expression of type Array(KeyValue)."""
    condition = f"arrayExists(k -> {starts_with('k', genai.MARKER_PREFIXES)}, {pairs}.key)"
    members = ", ".join(_members())
    kind = f"Tuple({', '.join(f'{name} {_plain(column_type)}' for name, column_type in COLUMNS)})"
    return f"if({condition}, arrayMap(m -> CAST(tuple({members}), '{kind}'), [{_texts(pairs)}])[1], defaultValueOfTypeName('{kind}'))"


def is_content(key: str) -> str:
    """Whether the SQL expression ``key`` names a prompt or a completion."""
    exact = ", ".join(_quoted(genai.PROMPT_KEYS + genai.COMPLETION_KEYS))
    return f"({key} IN ({exact}) OR {starts_with(key, genai.PROMPT_PREFIXES + genai.COMPLETION_PREFIXES)})"


def starts_with(key: str, prefixes: Iterable[str]) -> str:
    """Whether the SQL expression ``key`` starts with one of the prefixes."""
    return " OR ".join(f"startsWith({key}, {prefix})" for prefix in _quoted(prefixes))


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


def _members() -> list[str]:
    tokens = [_whole(keys) for keys in (genai.INPUT_TOKENS, genai.OUTPUT_TOKENS, genai.TOTAL_TOKENS)]
    return [
        _renamed(f"lower({_first(genai.PROVIDER)})", genai.PROVIDERS, None),
        _first(genai.MODEL),
        _renamed(f"lower({_first(genai.OPERATION)})", genai.OPERATIONS, genai.OTHER_OPERATION),
        tokens[0],
        tokens[1],
        f"ifNull({tokens[2]}, {tokens[0]} + {tokens[1]})",
        _number(genai.COST_USD),
        f"ifNull({_number(genai.TTFT_SECONDS)} * 1000, {_number(genai.TTFT_MS)})",
        _first(genai.FINISH_REASON),
        _number(genai.TEMPERATURE),
    ]


def _first(keys: Iterable[str]) -> str:
    listed = ", ".join(_quoted(keys))
    return f"m[arrayFirst(k -> m[k] != '', [{listed}])]"


def _number(keys: Iterable[str]) -> str:
    return f"toFloat64OrNull({_first(keys)})"


def _whole(keys: Iterable[str]) -> str:
    return f"accurateCastOrNull({_number(keys)}, 'Int64')"


def _renamed(text: str, names: Mapping[str, str], otherwise: str | None) -> str:
    default = text if otherwise is None else f"'{otherwise}'"
    return f"transform({text}, [{', '.join(_quoted(names))}], [{', '.join(_quoted(names.values()))}], {default})"


def _plain(column_type: str) -> str:
    return column_type.replace("LowCardinality(String)", "String")


def _quoted(texts: Iterable[str]) -> list[str]:
    return [f"'{text}'" for text in texts]
