"""What statements about spans share; pure text."""

from __future__ import annotations

from typing import Final

NOT_UTF8: Final = "char(255)"
"""Stands in JSON for what has no expression here; a text that holds it is not UTF-8, and so not used."""
_SAID: Final = (
    "toUInt64(length(attributes_string) + length(attributes_int) + length(attributes_double) + length(attributes_bool) + length(attributes_other)"
    " + length(events.time) + length(links.span_id))"
)
_END_NS: Final = "reinterpretAsUInt64(toUnixTimestamp64Nano(start_time) + duration_ns)"
DURATION_NS: Final = f"if({_END_NS} < reinterpretAsUInt64(toUnixTimestamp64Nano(start_time)), 0, reinterpretAsUInt64(duration_ns))"
"""Times are unsigned, and so is what lies between them; 0 where the end is before the start."""
RANKS: Final = (
    "toUInt8(duration_ns >= 0)",
    _SAID,
    _END_NS,
    "toInt32(status_code)",
)
"""What ``merge.once_each`` tells copies of a span apart by."""
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
    """The texts of a nested table's rows; ``names`` are those of its columns in the expression ``text``."""
    columns = ", ".join(f"{nested}.{_COLUMN_OF[name]}" for name in names)
    return f"arrayMap(({', '.join(names)}) -> {text}, {columns})"
