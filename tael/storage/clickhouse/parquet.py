"""How the cold tier's objects are written, and a table's columns in them, pure: unchanged, except for ids of variable length.

Other readers take a Parquet string for UTF-8, and a fixed-length binary is read back without its trailing zeros; so these ids are written
as hex.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from tael.storage.clickhouse import groups

Columns: TypeAlias = Sequence[tuple[str, str]]
"""Name and type of each column of a hot table, in its order."""
_LEFT_OUT: Final = {"spans": ("resource_value_hashes", *groups.COLUMNS), "logs": ("stream_labels",)}
"""Columns that are not written, because they only serve an index, a view or reads of the hot table."""
_WRITE: Final[Mapping[str, Any]] = {
    # An attempt that died may have left an object under this key; the next one overwrites it with the same rows.
    "s3_truncate_on_insert": 1,
    "output_format_parquet_compression_method": "'zstd'",
    "output_format_parquet_write_page_index": 1,
    "max_block_size": 8_192,
    # One writer, so that rows are written in the order of the SELECT.
    "max_insert_threads": 1,
}
_HEX: Final = {"spans": ("parent_span_id", "links.trace_id", "links.span_id"), "exemplars": ("trace_id",)}


def write(own: Mapping[str, Any]) -> str:
    """The SETTINGS of a statement that writes an object: those of every object, and ``own``, which may differ."""
    return f"SETTINGS {', '.join(f'{name} = {value}' for name, value in {**_WRITE, **own}.items())}"


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
