"""Groups of columns that are empty in most spans. Each row has a bit for each (COLUMNS), and a reader of spans does not select empty
groups. Pure.

A bit that is set MUST be right. No bit is set when nothing is known, as in files of the cold tier, which do not have the column
(docs/adr/0028).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from operator import and_
from typing import Any, Final

from tael.storage.clickhouse import rows

COLUMNS: Final = ("empty_groups", "more_empty_groups")
"""The first eight bits and the next eight."""
MASK: Final = f"{COLUMNS[0]} + 256 * {COLUMNS[1]}"
"""All of them as one number."""
OF_TRACE: Final = "empty_in_all"
"""The column of the trace index with what is empty in all spans of a trace."""
INSTEAD: Final = dict.fromkeys((*COLUMNS, OF_TRACE), "toUInt8(0)")
"""On a shard without one of the columns nothing is known to be empty (lacking.py)."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Columns (of rows.COLUMNS), the condition under which all of them are empty, and a function that returns their empty value."""

    columns: tuple[str, ...]
    empty: str
    value: Callable[[], Any]


_NUMBERS: Final = ("dropped_attributes_count", "dropped_events_count", "dropped_links_count")
_TEXTS: Final = ("trace_state", "status_message")
_DROPPED: Final = ("resource_dropped_attributes_count", "scope_dropped_attributes_count")
_RARE: Final = " AND ".join([*(f"{name} = ''" for name in _TEXTS), *(f"{name} = 0" for name in _NUMBERS)])

# In the order of the bits, which are stored: it never changes.
_GROUPS: Final = (
    *(_Group((f"attributes_{name}",), f"empty(attributes_{name})", dict) for name in ("int", "double", "bool", "other")),
    _Group(tuple(name for name in rows.COLUMNS if "events." in name), "empty(events.name)", tuple),
    _Group(tuple(name for name in rows.COLUMNS if "links." in name), "empty(links.flags)", tuple),
    _Group(rows.LLM_COLUMNS, "llm_operation = ''", str),
    _Group((*_TEXTS, *_NUMBERS), _RARE, int),
)
_MORE_GROUPS: Final = (
    _Group(("resource_int",), "empty(resource_int)", dict),
    _Group(("resource_double", "resource_bool"), "empty(resource_double) AND empty(resource_bool)", dict),
    _Group(("resource_other",), "empty(resource_other)", dict),
    _Group(("scope_string", "scope_other"), "empty(scope_string) AND empty(scope_other)", dict),
    _Group(_DROPPED, " AND ".join(f"{name} = 0" for name in _DROPPED), int),
    _Group(("resource_schema_url",), "resource_schema_url = ''", str),
    _Group(("scope_schema_url",), "scope_schema_url = ''", str),
    _Group(("flags",), "flags = 0", int),
)


def _bits(of: Sequence[_Group]) -> str:
    return f"toUInt8({' + '.join(f'{1 << bit} * ({group.empty})' for bit, group in enumerate(of))})"


EXPRESSIONS: Final = dict(zip(COLUMNS, map(_bits, (_GROUPS, _MORE_GROUPS)), strict=True))
"""The default expressions of the columns."""


def may_be_filled(column: str) -> str:
    """The condition that the group of one of these columns may not be empty in a row."""
    for mask, of in zip(COLUMNS, (_GROUPS, _MORE_GROUPS), strict=True):
        for bit, group in enumerate(of):
            if column in group.columns:
                return f"bitAnd({mask}, {1 << bit}) = 0"
    raise KeyError(column)


def common(masks: Sequence[int]) -> int:
    """The mask of the groups that are empty in all of these rows (at least one)."""
    return reduce(and_, masks)


def columns(empty: int) -> tuple[str, ...]:
    """rows.COLUMNS without those of the ``empty`` groups."""
    return tuple(name for name, value in zip(rows.COLUMNS, _values(empty), strict=True) if value is None)


def whole(row: rows.Row, empty: int) -> list[Any]:
    """The values of rows.COLUMNS, from a row that has those of ``columns(empty)``, perhaps followed by others."""
    selected = iter(row)
    return [next(selected) if value is None else value() for value in _values(empty)]


@cache
def _values(empty: int) -> tuple[Callable[[], Any] | None, ...]:
    """For each column, a function that returns its empty value if it is left out, or None if it is selected."""
    left_out = {
        name: _value(name, group) for bit, group in enumerate((*_GROUPS, *_MORE_GROUPS)) if empty & 1 << bit for name in group.columns
    }
    return tuple(left_out.get(name) for name in rows.COLUMNS)


def _value(name: str, group: _Group) -> Callable[[], Any]:
    return str if name in _TEXTS else group.value
