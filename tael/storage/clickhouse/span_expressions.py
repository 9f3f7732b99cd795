"""What the expressions of ``span_bytes`` and ``span_proto_json`` share; pure text."""

from __future__ import annotations

from typing import Final

NOT_UTF8: Final = "char(255)"
"""Stands in JSON for what has no expression here; a text that holds it is not UTF-8, and so not used."""
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
