"""A table's columns in the cold tier's files, pure: unchanged, except for ids of variable length.

Other readers take a Parquet string for UTF-8, and a fixed-length binary is read back without its trailing zeros; so these ids are written
as hex.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from tael.storage.clickhouse import groups

Columns: TypeAlias = Sequence[tuple[str, str]]
"""Name and type of each column of a hot table, in its order."""
_LEFT_OUT: Final = {"spans": ("resource_value_hashes", *groups.COLUMNS), "logs": ("stream_labels",)}
"""Columns that are not written, because they only serve an index, a view or reads of the hot table."""
_HEX: Final = {"spans": ("parent_span_id", "links.trace_id", "links.span_id"), "exemplars": ("trace_id",)}


def written(table: str, columns: Columns) -> str:
    """The columns to select from a hot table for writing to a file."""
    hexed = _HEX.get(table, ())
    kept = [(name, kind) for name, kind in columns if name not in _LEFT_OUT.get(table, ())]
    return ", ".join(f"{_each(kind, 'lower(hex({}))', name)} AS `{name}`" if name in hexed else f"`{name}`" for name, kind in kept)


def read(table: str, columns: Columns) -> str:
    """The columns to select from a file to get those of the hot table."""
    hexed = _HEX.get(table, ())
    return ", ".join(f"{_each(kind, 'unhex({})', name)} AS `{name}`" if name in hexed else f"`{name}`" for name, kind in columns)


def structure(columns: Columns) -> str:
    """The names and types of a file's columns, as a literal: nothing is inferred from the file, and a column that it lacks is empty."""
    text = ", ".join(f"`{name}` {kind}" for name, kind in columns)
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _each(kind: str, call: str, name: str) -> str:
    return f"arrayMap(id -> {call.format('id')}, `{name}`)" if kind.startswith("Array") else call.format(f"`{name}`")
