"""The intrinsic fields of spans and log records as SQL, pure: which expression reads each, and when it is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tael.model.predicate import (
    Kind,
    Value,
)
from tael.otlp.prices import Prices, read_prices
from tael.storage.clickhouse import llm, log_lines
from tael.storage.clickhouse.needles import Begun
from tael.storage.clickhouse.prices import computed_cost

KINDS: Final = ("string", "int", "double", "bool", "other")
ZEROS: Final = "toFixedString('', {})"


@dataclass(frozen=True, slots=True)
class Names:
    """An Enum ``column`` that has one of ``known`` as the field's value; where ``other`` holds, the value is another one and stored
    elsewhere.
    """

    column: str
    known: tuple[str, ...]
    other: str

    def leaf(self, holds: Callable[[Any], bool], text: str) -> str:
        """The condition that the field satisfies a leaf: ``holds`` tests a value, ``text`` is the condition on a value that is stored
        elsewhere.
        """
        held = [f"'{name}'" for name in self.known if holds(name)]
        return in_some([*([f"{self.column} IN ({', '.join(held)})"] if held else []), f"({self.other} AND {text})"])


@dataclass(frozen=True, slots=True)
class Column:
    """The SQL of an intrinsic field: its ``value`` and, if it may be missing, the condition that it is ``present``.

    ``absent`` is the value that is read when it is missing (None: any); ``size`` is that of a FixedString. ``many`` marks an array of
    values, ``words_index`` the column with the text index, and ``named`` an expression that is written once and then referred to by that
    name. ``payloads`` is a SELECT of the hashes, in hex, of payloads that values may refer to, at least of those with all the given words,
    to which a condition on their ``content`` is appended; ``payloads_indexed`` is whether the text index covers that content. With
    ``names``, ``value`` is read only where no name is stored. ``begun`` are beginnings of words that the text index has in few rows.
    ``json``: a text is JSON as a rule, and searches for words find them behind its escapes.
    """

    kind: Kind
    value: str
    present: str = ""
    absent: Value | None = None
    size: int = 0
    many: bool = False
    words_index: bool = False
    named: str = ""
    payloads: Callable[[Sequence[str]], str] | None = None
    payloads_indexed: bool = True
    names: Names | None = None
    begun: Begun | None = None
    json: bool = False


def _call(name: str, kind: Kind) -> Column:
    if kind == "string":
        return Column(kind, f"llm_{name}", f"llm_{name} != ''", absent="")
    return Column(kind, f"llm_{name}", f"isNotNull(llm_{name})")


def _computed(prices: Prices) -> Column:
    cost = computed_cost(prices)
    return Column("double", cost, f"isNotNull({cost})")


_PROMPTS_AND_COMPLETIONS = (
    f"arrayConcat(mapValues(mapFilter((k, v) -> {llm.is_content('k')}, attributes_string)),\n"
    f"    arrayMap(v -> base64Decode(substring(v, 2)), mapValues(mapFilter((k, v) -> {llm.is_content('k')}, attributes_other))),\n"
    f"    arrayFlatten(arrayMap((n, e) -> mapValues(mapFilter((k, v) -> {llm.is_content_of('n', 'k')}, e)),\n"
    "        events.name, events.attributes_string)))"
)
SPAN_COLUMNS: Final[dict[str, Column]] = {
    "name": Column("string", "name"),
    "service": Column("string", "service"),
    "kind": Column("int", "kind"),
    "status": Column("int", "status_code"),
    "status_message": Column("string", "status_message"),
    "duration": Column("int", "greatest(duration_ns, 0)"),
    "start": Column("int", "toUnixTimestamp64Nano(start_time)"),
    "trace_id": Column("bytes", "trace_id", size=16),
    "span_id": Column("bytes", "span_id", size=8),
    "parent_span_id": Column("bytes", "parent_span_id"),
    "trace_state": Column("string", "trace_state"),
    "scope_name": Column("string", "scope_name"),
    "scope_version": Column("string", "scope_version"),
    "event_name": Column("string", "events.name", many=True),
    "event_time_since_start": Column(
        "int", "arrayMap(t -> toUnixTimestamp64Nano(t) - toUnixTimestamp64Nano(start_time), events.time)", many=True
    ),
    "link_trace_id": Column("bytes", "links.trace_id", many=True),
    "link_span_id": Column("bytes", "links.span_id", many=True),
    "llm_provider": _call("provider", "string"),
    "llm_model": _call("model", "string"),
    "llm_operation": _call("operation", "string"),
    "llm_input_tokens": _call("input_tokens", "int"),
    "llm_output_tokens": _call("output_tokens", "int"),
    "llm_total_tokens": _call("total_tokens", "int"),
    "llm_cost_usd": _call("cost_usd", "double"),
    "llm_ttft_ms": _call("ttft_ms", "double"),
    "llm_finish_reason": _call("finish_reason", "string"),
    "llm_temperature": _call("temperature", "double"),
    "llm_response_model": _call("response_model", "string"),
    "llm_cache_read_tokens": _call("cache_read_tokens", "int"),
    "llm_cache_write_tokens": _call("cache_write_tokens", "int"),
    "llm_reasoning_tokens": _call("reasoning_tokens", "int"),
    "llm_session_id": _call("session_id", "string"),
    "llm_user_id": _call("user_id", "string"),
    "llm_agent_name": _call("agent_name", "string"),
    "llm_tool_name": _call("tool_name", "string"),
    "llm_computed_cost_usd": _computed(read_prices()),
    "llm_content": Column("string", _PROMPTS_AND_COMPLETIONS, "llm_operation != ''", many=True, json=True, named="llm_content"),
}


def span_columns(prices: Prices) -> dict[str, Column]:
    """SPAN_COLUMNS with the computed cost by these prices."""
    return {**SPAN_COLUMNS, "llm_computed_cost_usd": _computed(prices)}


_KEYS: Final = (
    "arrayConcat("
    + ", ".join(
        f"mapKeys({owner}_{kind})"
        for owner, kinds in (("attributes", KINDS), ("resource", KINDS), ("scope", ("string", "other")))
        for kind in kinds
    )
    + ")"
)
LOG_COLUMNS: Final[dict[str, Column]] = {
    "service": Column("string", "service"),
    "body": Column("string", "body", "toInt8(body_type) != 0", absent="", words_index=True),
    "body_type": Column("string", "toString(body_type)"),
    "level": Column("int", "toInt8(level)"),
    "detected_level": Column(
        "string",
        "severity_text",
        log_lines.KNOWN_IF["level"],
        names=Names("line_level", log_lines.LEVEL_WORDS, log_lines.OTHER_LEVEL),
    ),
    "severity_number": Column("int", "severity_number"),
    "severity_text": Column("string", "severity_text"),
    "event_name": Column("string", "event_name"),
    "timestamp": Column("int", "toUnixTimestamp64Nano(timestamp)"),
    "observed_timestamp": Column("int", "toUnixTimestamp64Nano(observed_timestamp)"),
    "trace_id": Column("bytes", "trace_id", f"trace_id != {ZEROS.format(16)}", absent=bytes(16), size=16),
    "span_id": Column("bytes", "span_id", f"span_id != {ZEROS.format(8)}", absent=bytes(8), size=8),
    "scope_name": Column("string", "scope_name"),
    "scope_version": Column("string", "scope_version"),
    "attribute_keys": Column("string", _KEYS, many=True),
}
_WITHOUT_INDEX: Final = LOG_COLUMNS | {"body": replace(LOG_COLUMNS["body"], words_index=False)}


def log_columns(*, indexed: bool, begun: Begun | None = None) -> Mapping[str, Column]:
    """The intrinsic fields of log records; ``indexed`` is whether all places of the rows have the text index, and ``begun`` what it
    is known to have in few of them.
    """
    if indexed and begun is not None:
        return LOG_COLUMNS | {"body": replace(LOG_COLUMNS["body"], begun=begun)}
    return LOG_COLUMNS if indexed else _WITHOUT_INDEX


def in_some(texts: list[str]) -> str:
    """The condition that any of these holds."""
    return f"({' OR '.join(texts)})"
