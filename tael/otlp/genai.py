"""The dialects of LLM calls' spans, read from ``dialects.toml``, and the LlmCall of a span. Pure.

ClickHouse computes the same from the same table when a span is inserted (tael/storage/clickhouse/llm.py); tests compare it with
``llm_call``.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import reduce
from importlib import resources
from operator import add
from typing import Any, Final

from tael.model import json_text
from tael.model.attributes import Attributes, AttributeValue
from tael.model.span import LlmCall
from tael.model.time import NS_PER_MS, NS_PER_SECOND

DIALECTS: Final[dict[str, Any]] = tomllib.loads((resources.files("tael.otlp") / "dialects.toml").read_text())
MARKER_PREFIXES: Final = tuple(DIALECTS["markers"])
"""A span with an attribute that starts with one of these is an LLM span."""
KEYS: Final[Mapping[str, tuple[str, ...]]] = {name: tuple(key for _, key in column["keys"]) for name, column in DIALECTS["columns"].items()}
"""For each column its keys, in order of precedence; ``a.b|c`` is member ``c`` of the JSON object in ``a.b``, ``a.b|c|d`` a
member of that.
"""
SUMS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    name: tuple(tuple(keys) for _, keys in column.get("sums", ())) for name, column in DIALECTS["columns"].items()
}
"""For each column the groups of keys whose sum is its value if none of ``KEYS`` has one; ``a.b|*`` is the sum of an object's members."""
ALL_KEYS: Final = frozenset(key for name in KEYS for key in (*KEYS[name], *(part for group in SUMS[name] for part in group)))
COLUMN_KEYS: Final = frozenset(key.partition("|")[0] for key in ALL_KEYS)
"""The attributes from which columns are read."""
OPERATIONS: Final[dict[str, str]] = {name: operation for operation, names in DIALECTS["operations"].items() for name in names}
"""The operation for each name, in lower case; any other name is OTHER_OPERATION."""
IMPLIED: Final[dict[str, str]] = {key: operation for _, key, operation in DIALECTS["implied"]["operation"]}
"""The operation that an attribute implies by its presence if no key names one, in order of precedence."""
AGENTS: Final = ("agent", "workflow")
"""The operations of spans whose ``entity`` is an agent's name; that of a TOOL is a tool's."""
TOOL: Final = "tool"
OTHER_OPERATION: Final = "other"
PROVIDERS: Final[dict[str, str]] = {name: provider for provider, names in DIALECTS["providers"].items() for name in names}
PROVIDER_SUFFIX: Final[str] = rf"\.({'|'.join(DIALECTS['provider_suffixes']['suffixes'])})$"
FIRST_REASON: Final = r"""[^\[\]"', ]+"""
"""Matches the first finish reason of a list, which some dialects write as JSON."""
PROMPT_KEYS: Final = tuple(DIALECTS["content"]["prompt_keys"])
PROMPT_PREFIXES: Final = tuple(DIALECTS["content"]["prompt_prefixes"])
COMPLETION_KEYS: Final = tuple(DIALECTS["content"]["completion_keys"])
COMPLETION_PREFIXES: Final = tuple(DIALECTS["content"]["completion_prefixes"])
EVENT_KEYS: Final = tuple(DIALECTS["content"]["event_keys"])
"""The attributes that hold a prompt or a completion on an event of ``SPOKEN``, besides those that do so everywhere."""
EVENTS: Final[Mapping[str, str]] = DIALECTS["events"]
"""The role of each event of calls (on a span, or as a log record beside it), by the event's name; empty if the event itself names the
roles.
"""
SPOKEN: Final = frozenset(name for name, role in EVENTS.items() if role)
"""The events that are one message each."""
CONVERSATION: Final[Mapping[str, Sequence[Any]]] = DIALECTS["conversation"]
"""The keys of a call's ``system``, ``input`` and ``output`` messages, in order of precedence; keys in a list are of one message."""
INSTANT: Final = r"^(20\d\d-[01]\d-[0-3]\d[T ][0-2]\d:[0-5]\d:[0-5]\d)(?:\.(\d{1,9}))?(Z|[+-][01]\d:[0-5]\d)?$"
"""Matches a time as ``first_token_at`` may be written."""
MEMBER: Final = "|"
EVERY_MEMBER: Final = "*"
MOST: Final = 10**12
"""The maximum number of tokens, dollars or seconds of one call: a larger number is a mistake, and would spoil every sum."""

_CONTENT_KEYS = frozenset(PROMPT_KEYS + COMPLETION_KEYS)
_CONTENT_PREFIXES = PROMPT_PREFIXES + COMPLETION_PREFIXES
_KEPT_PREFIXES = (*MARKER_PREFIXES, *DIALECTS["content"]["other_prefixes"])
_TEXTS = ("model", "response_model", "session_id", "user_id", "agent_name", "tool_name")
_REASON = re.compile(FIRST_REASON)
# float() alone would also accept "nan", "infinity" and "1_000".
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def is_marker(key: str) -> bool:
    """Whether an attribute with this key makes its span an LLM span."""
    return key.startswith(MARKER_PREFIXES)


def is_llm(attributes: Attributes) -> bool:
    """Whether the attributes are those of an LLM span in one of the dialects."""
    return any(map(is_marker, attributes))


def is_content(key: str) -> bool:
    """Whether an attribute with this key holds a prompt or a completion."""
    return key in _CONTENT_KEYS or key.startswith(_CONTENT_PREFIXES)


def is_content_of(event: str, key: str) -> bool:
    """``is_content`` of an attribute of an event with this name."""
    return is_content(key) or (key in EVENT_KEYS and event in SPOKEN)


def is_kept_whole(key: str) -> bool:
    """Whether an attribute with this key holds content of an LLM call, on whatever span or event it is."""
    return key in _CONTENT_KEYS or key.startswith(_KEPT_PREFIXES)


def llm_call(attributes: Attributes, start_ns: int) -> LlmCall | None:
    """The LLM call that the attributes of a span with this start describe; None if it is not an LLM span."""
    if not is_llm(attributes):
        return None
    texts = {key: _text(value) for key, value in attributes.items()}
    found = {name: _first(texts, keys) for name, keys in KEYS.items()}
    tokens = {name: _whole(_amount(found[name])) for name in KEYS if name.endswith("_tokens")}
    if tokens["total_tokens"] is None and tokens["input_tokens"] is not None and tokens["output_tokens"] is not None:
        tokens["total_tokens"] = tokens["input_tokens"] + tokens["output_tokens"]
    fields: dict[str, Any] = {name: found[name] for name in _TEXTS} | tokens
    operation = OPERATIONS.get(found["operation"].lower(), OTHER_OPERATION) if found["operation"] else _implied(texts)
    if operation == TOOL or operation in AGENTS:
        named = "tool_name" if operation == TOOL else "agent_name"
        fields[named] = fields[named] or found["entity"]
    return LlmCall(
        provider=_provider(found["provider"]),
        operation=operation,
        cost_usd=_sum_of(texts, "cost_usd") if (cost := _amount(found["cost_usd"])) is None else cost,
        ttft_ms=_ttft_ms(found, start_ns),
        finish_reason=_reason(found["finish_reason"]),
        temperature=_number(found["temperature"]),
        **fields,
    )


def _ttft_ms(found: Mapping[str, str], start_ns: int) -> float | None:
    seconds, millis = _amount(found["ttft_seconds"]), _amount(found["ttft_ms"])
    if seconds is not None:
        return seconds * 1000
    return _ms_since(start_ns, found["first_token_at"]) if millis is None else millis


def _ms_since(start_ns: int, text: str) -> float | None:
    """Milliseconds to the time in a text; None if it is none, or before the start."""
    found = re.match(INSTANT, text)
    if found is None:
        return None
    whole, fraction, offset = found.groups()
    try:
        at = datetime.fromisoformat(f"{whole}{offset or 'Z'}")
    except ValueError:
        return None
    passed = (int(at.timestamp()) * NS_PER_SECOND + int((fraction or "").ljust(9, "0")) - start_ns) / NS_PER_MS
    return passed if 0 <= passed <= MOST else None


def _implied(texts: Mapping[str, str]) -> str:
    return next((operation for key, operation in IMPLIED.items() if texts.get(key)), OTHER_OPERATION)


def _first(texts: Mapping[str, str], keys: Sequence[str]) -> str:
    return next((text for key in keys if (text := _of_key(texts, key))), "").strip('"')


def _of_key(texts: Mapping[str, str], key: str) -> str:
    name, _, member = key.partition(MEMBER)
    return _member(texts.get(name, ""), member) if member else texts.get(name, "")


def _member(text: str, name: str) -> str:
    try:
        value = json_text.from_text(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict):
        return ""
    if name != EVERY_MEMBER:
        outer, _, inner = name.partition(MEMBER)
        member = value.get(outer)
        if inner:
            member = member.get(inner) if isinstance(member, dict) else None
        return "" if isinstance(member, list) else _text(member)
    amounts = _amounts(map(_text, value.values()))
    return repr(reduce(add, amounts)) if amounts else ""


def _sum_of(texts: Mapping[str, str], column: str) -> float | None:
    """The sum of the first group of keys that has any numbers."""
    for group in SUMS[column]:
        if amounts := _amounts(_of_key(texts, key) for key in group):
            return reduce(add, amounts)
    return None


def _amounts(texts: Iterable[str]) -> list[float]:
    return [amount for text in texts if (amount := _amount(text.strip('"'))) is not None]


def _text(value: AttributeValue) -> str:
    """A string or number as text; the first element of an array if that is a string; else empty."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes) and value and isinstance(value[0], str):
        return value[0]
    return ""


def _provider(name: str) -> str:
    base = re.sub(PROVIDER_SUFFIX, "", name.lower())
    return PROVIDERS.get(base, base)


def _reason(text: str) -> str:
    found = _REASON.search(text)
    return found[0] if found else ""


def _number(text: str) -> float | None:
    # Infinity stands for what is not a number, and is also what float() makes of one that is too large; neither is kept.
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def _amount(text: str) -> float | None:
    """The number in a text; None if there is none, or if it is negative or above ``MOST``."""
    number = _number(text)
    return number if number is not None and 0 <= number <= MOST else None


def _whole(number: float | None) -> int | None:
    return int(number) if number is not None and number.is_integer() and abs(number) < 1 << 63 else None
