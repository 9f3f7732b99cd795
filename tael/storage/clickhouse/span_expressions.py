"""SQL expressions that several statements about spans use; pure text."""

from __future__ import annotations

from typing import Final

NOT_UTF8: Final = "char(255)"
"""Takes the place of what cannot be encoded. A text that contains it is not valid UTF-8, and so is discarded."""
_DETAILS: Final = (
    "toUInt64(length(attributes_string) + length(attributes_int) + length(attributes_double) + length(attributes_bool) + length(attributes_other)"
    " + length(events.time) + length(links.span_id))"
)
_END_NS: Final = "reinterpretAsUInt64(toUnixTimestamp64Nano(start_time) + duration_ns)"
DURATION_NS: Final = f"if({_END_NS} < reinterpretAsUInt64(toUnixTimestamp64Nano(start_time)), 0, reinterpretAsUInt64(duration_ns))"
"""The duration; 0 if the end is before the start. Times are unsigned, and so is their difference."""
RANKS: Final = (
    "toUInt8(duration_ns >= 0)",
    _DETAILS,
    _END_NS,
    "toInt32(status_code)",
)
"""The completeness of a copy of a span, as in ``merge.once_each``: the larger, the more complete."""
_COLUMN_OF: Final = {
    "event_name": "name",
    "event_time": "time",
    "link_trace": "trace_id",
    "link_span": "span_id",
    "state": "trace_state",
    "link_flags": "flags",
    "texts": "attributes_string",
    "rest": "attributes_other",
    "dropped": "dropped_attributes_count",
}


def each(nested: str, text: str, *names: str) -> str:
    """An array with ``text`` for each row of a nested table; ``names`` are the names of its columns in that expression."""
    columns = ", ".join(f"{nested}.{_COLUMN_OF[name]}" for name in names)
    return f"arrayMap(({', '.join(names)}) -> {text}, {columns})"
