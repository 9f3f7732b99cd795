"""How a table's columns stand in the cold tier's files, pure: as they are, but for ids that may be of any length.

A Parquet string is UTF-8 for whoever else reads it, and a binary of a fixed length comes back without its last zeros; so these ids are hex there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

Columns: TypeAlias = Sequence[tuple[str, str]]
"""Name and type of each column of a hot table, in its order."""
_LEFT_OUT: Final = {"spans": ("resource_value_hashes", "empty_groups"), "logs": ("stream_labels",)}
"""Columns that only serve an index, a view or reads of the hot table."""
_HEX: Final = {"spans": ("parent_span_id", "links.trace_id", "links.span_id"), "exemplars": ("trace_id",)}


def written(table: str, columns: Columns) -> str:
    """What is selected from the hot columns to be written."""
    hexed = _HEX.get(table, ())
    kept = [(name, kind) for name, kind in columns if name not in _LEFT_OUT.get(table, ())]
    return ", ".join(f"{_each(kind, 'lower(hex({}))', name)} AS `{name}`" if name in hexed else f"`{name}`" for name, kind in kept)


def read(table: str, columns: Columns) -> str:
    """What is selected from a file's columns to have the hot ones."""
    hexed = _HEX.get(table, ())
    return ", ".join(f"{_each(kind, 'unhex({})', name)} AS `{name}`" if name in hexed else f"`{name}`" for name, kind in columns)


def structure(columns: Columns) -> str:
    """The types of a file's columns, as a literal: nothing is guessed from the file, and a column that it lacks is empty."""
    text = ", ".join(f"`{name}` {kind}" for name, kind in columns)
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _each(kind: str, call: str, name: str) -> str:
    return f"arrayMap(id -> {call.format('id')}, `{name}`)" if kind.startswith("Array") else call.format(f"`{name}`")
