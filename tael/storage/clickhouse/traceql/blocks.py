"""Converts columns of ClickHouse's answers to blocks of spans, pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tael.model.attributes import AttributeValue
from tael.model.span import UNKNOWN_SERVICE
from tael.model.time import TimeRange
from tael.storage.clickhouse import native
from tael.storage.clickhouse.rows import other_value
from tael.traceql.ast import Attribute, Expression, Field, Filter, Intrinsic, Named, Query, Static, Type
from tael.traceql.columns import Column, Rows, constant, of_type, of_values, python_type
from tael.traceql.expressions import is_event, is_link
from tael.traceql.ids import Ids, numbers_of
from tael.traceql.spans import SERVICE, Block, Elements

_TYPES = {Intrinsic.STATUS: Type.STATUS, Intrinsic.KIND: Type.KIND, Intrinsic.EVENT_TIME_SINCE_START: Type.DURATION}
_ID_COLUMNS = 6


def block(columns: Sequence[native.Column], fields: Sequence[Named]) -> Block:
    """The block of an answer to ``read_traces``, whose columns after the ids are ``fields``."""
    if not columns:
        none = np.zeros(0, dtype=np.int64)
        return Block(none, (), (), (), none, none, {})
    high, low, span, parent, start_ns, duration_ns = (native.numbers(column) for column in columns[:_ID_COLUMNS])
    # Rows are ordered by trace, so a trace begins where the id changes. As little-endian numbers the halves have the bytes of the id.
    changes = np.concatenate(([True], (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
    trace_ids = np.stack([high[changes], low[changes]], axis=1).astype("<u8")
    found: dict[Named, Column] = {}
    elements: dict[bool, dict[Named, Column]] = {True: {}, False: {}}
    owners: dict[bool, Rows] = {}
    for named, column in zip(fields, columns[_ID_COLUMNS:], strict=True):
        if is_event(named) or is_link(named):
            lists = native.lists(column)
            elements[is_event(named)][named] = _column(named, lists.values)
            owners[is_event(named)] = np.repeat(np.arange(len(high)), np.diff(lists.offsets))
        else:
            found[named] = _column(named, column)
    events, links = (Elements(owners[kind], elements[kind]) if kind in owners else Elements() for kind in (True, False))
    return Block(
        np.cumsum(changes) - 1,
        _split(trace_ids.tobytes(), 16),
        Ids(span),
        Ids(parent, absent=True),
        start_ns.astype(np.int64, copy=False),
        duration_ns.astype(np.int64, copy=False),
        found,
        events,
        links,
    )


def traces_with_copies(columns: Sequence[native.Column]) -> list[bytes]:
    """The traces with several rows for one span, in an answer ordered by trace, start and span."""
    if not columns:
        return []
    high, low, span, _, start_ns, _ = (native.numbers(column) for column in columns[:_ID_COLUMNS])
    # In this order the copies of a span are neighbours.
    again = np.logical_and.reduce([numbers[1:] == numbers[:-1] for numbers in (high, low, start_ns, span)])
    ids = np.stack([high[1:][again], low[1:][again]], axis=1).astype("<u8")
    return list(dict.fromkeys(_split(ids.tobytes(), 16)))


def has_unknown_service(columns: Sequence[native.Column], fields: Sequence[Named]) -> bool:
    """Whether the service of any row of an answer to ``read_traces`` is UNKNOWN_SERVICE."""
    read = zip(fields, columns[_ID_COLUMNS:], strict=True) if columns else ()
    return any(named == SERVICE and f"s{UNKNOWN_SERVICE}" in native.strings(column).words for named, column in read)


def known_filters(columns: Sequence[native.Column], fields: Sequence[Named], known: Sequence[Expression]) -> tuple[Block, bool]:
    """The block of an answer to ``read_candidates``, and whether a compared attribute is a list on any of its spans."""
    if not columns:
        return block((), ()), False
    flags = [native.numbers(column).astype(bool) for column in columns[_ID_COLUMNS : _ID_COLUMNS + len(known) + 1]]
    found = block([*columns[:_ID_COLUMNS], *columns[_ID_COLUMNS + len(known) + 1 :]], fields)
    return replace(found, known=dict(zip(known, flags[:-1], strict=True))), bool(flags[-1].any())


def with_known_spans(
    spans: Block,
    known: Mapping[bytes, Collection[tuple[int, int]]],
    query: Query,
    values: Mapping[Attribute, Static],
    within: TimeRange,
    again: Collection[bytes],
) -> tuple[Block, list[bytes]]:
    """The block with the ``known`` spans of its traces, by start and number, as those that every filter of the query keeps, on which
    attributes have these ``values``; and the traces that are left out of it, which are to be read whole: those that are to be read
    ``again``, and those that reach beyond what was searched.
    """
    if not spans.size:
        return spans, []
    numbers, mask, left_out = numbers_of(spans.span_ids), np.zeros(spans.size, dtype=bool), set(again)
    last = np.maximum.reduceat(spans.start_ns, spans.first_rows)
    beyond = (spans.trace_bounds_ns[0] < within.start_ns) | (last >= within.end_ns)
    left_out |= {spans.trace_ids[trace] for trace in np.flatnonzero(beyond).tolist()}
    # An id alone is rarely another trace's or another start's too: few rows are left to be compared one by one.
    maybe = np.isin(numbers, np.array([number for own in known.values() for _, number in own], dtype=np.uint64))
    for row in np.flatnonzero(maybe).tolist():
        trace_id = spans.trace_ids[spans.trace[row]]
        mask[row] = trace_id not in left_out and (int(spans.start_ns[row]), int(numbers[row])) in known[trace_id]
    filters = [stage.expression for stage in query.pipeline.stages if isinstance(stage, Filter)]
    columns = dict(spans.columns)
    columns |= {named: constant(value, spans.size).where(mask) for named, value in values.items()}
    return replace(spans, known=dict.fromkeys(filters, mask), columns=columns), sorted(left_out)


def value_of(text: str) -> AttributeValue:
    """The value of a field's text (fields.py); None for an empty text.

    An attribute that was sent without a value becomes an empty list: like that, it exists and equals nothing.
    """
    if not text:
        return None
    if text == "n":
        return []
    return text[1:] if text[0] == "s" else other_value(text)


def group_codes(named: Named, column: native.Column) -> tuple[Rows, list[Static | None]]:
    """For a field that was grouped by: the code of each row, and the value of each code."""
    if isinstance(named, Field) and (kind := _TYPES.get(named.intrinsic)) is not None:
        numbers, codes = np.unique(native.numbers(column), return_inverse=True)
        return codes.ravel(), [Static(kind, int(number)) for number in numbers]
    strings = native.strings(column)
    known: dict[Static | None, int] = {}
    codes = np.array([known.setdefault(static_of(word), len(known)) for word in strings.words], dtype=np.int64)
    return codes[strings.index], list(known)


def static_of(text: str) -> Static | None:
    """The literal for a field's text; None for nil and for values without a type in TraceQL."""
    value = value_of(text)
    kind = python_type(value)
    return Static(kind, value) if kind is not None and isinstance(value, str | int | float) else None


def distinct_values(named: Named, texts: Sequence[str]) -> set[Static]:
    """The values in an answer to ``tag_values``; of a list, each element."""
    kind = _TYPES.get(named.intrinsic) if isinstance(named, Field) else None
    if kind is not None:
        return {Static(kind, int(text)) for text in texts}
    column = of_values([value_of(text) for text in texts])
    single = (column.at(row) for row in range(column.size))
    elements = {Static(kind, value) for kind, values in column.lists.values() for value in values}
    return elements | {value for value in single if value is not None}


def _column(named: Named, column: native.Column) -> Column:
    kind = _TYPES.get(named.intrinsic) if isinstance(named, Field) else None
    if kind is not None:
        return of_type(kind, native.numbers(column).astype(np.int64))
    strings = native.strings(column)
    return of_values([value_of(word) for word in strings.words]).take(strings.index.astype(np.int64))


def _split(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
