"""Resolves references to payloads, up to the bytes that one answer may have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.query.backend import Backend
from services.query.turns import Turn
from tael.errors import Retryable
from tael.model.log import LogRecord
from tael.model.payload import Reference
from tael.model.span import Span
from tael.model.time import ALL_TIME, TimeRange
from tael.otlp.resolve import Contents, log_references, resolve_log, resolve_span, span_references

T = TypeVar("T", Span, LogRecord)
PAYLOADS: Final = "payloads"
"""The parameter that requests payloads, and the name in ``missing`` where none could be read."""
INLINE, REFERENCE = "inline", "reference"
_INLINE_REFERENCES = 16


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """Items with payloads resolved: how many references are left, which shards did not answer, and how many bytes were put in place."""

    items: Sequence[T]
    left: int = 0
    missing: tuple[str, ...] = ()
    taken_bytes: int = 0


async def resolve_spans(backend: Backend, turn: Turn, tenant: str, spans: Sequence[Span], max_bytes: int | None = None) -> Resolved[Span]:
    """The spans with up to ``max_bytes`` of payloads resolved, by default the limit of one answer.

    An answer does not fail for want of a payload: a reference that cannot be resolved stays, and is counted.
    """
    return await _resolve(backend, turn, tenant, spans, span_references, resolve_span, lambda span: span.start_ns, max_bytes)


async def resolve_logs(
    backend: Backend, turn: Turn, tenant: str, records: Sequence[LogRecord], max_bytes: int | None = None
) -> Resolved[LogRecord]:
    """``resolve_spans`` for log records."""
    return await _resolve(backend, turn, tenant, records, log_references, resolve_log, lambda record: record.timestamp_ns, max_bytes)


async def _resolve(
    backend: Backend,
    turn: Turn,
    tenant: str,
    items: Sequence[T],
    references: Callable[[T], Iterator[Reference]],
    resolve: Callable[[T, Contents], T],
    time_ns: Callable[[T], int],
    max_bytes: int | None = None,
) -> Resolved[T]:
    referring = [(index, found) for index, item in enumerate(items) if (found := list(references(item)))]
    if not referring:
        return Resolved(items)
    count = sum(len(found) for _, found in referring)
    max_bytes = backend.settings.max_inline_payload_bytes if max_bytes is None else max_bytes
    wanted, taken = _within(max_bytes, (reference for _, found in referring for reference in found))
    times = [time_ns(items[index]) for index, _ in referring]
    try:
        contents, missing = await _contents(backend, turn, tenant, wanted, TimeRange(min(times), max(times) + 1))
    except Retryable:
        return Resolved(items, count, (PAYLOADS,))

    def in_place() -> list[T]:
        changed = list(items)
        for index, _ in referring:
            changed[index] = resolve(changed[index], contents)
        return changed

    resolved = in_place() if len(taken) <= _INLINE_REFERENCES else await asyncio.to_thread(in_place)
    put = [reference for reference in taken if reference.sha256 in contents]
    return Resolved(resolved, count - len(put), missing, sum(reference.size_bytes for reference in put))


def _within(limit_bytes: int, references: Iterable[Reference]) -> tuple[set[bytes], list[Reference]]:
    """The payloads that fit into ``limit_bytes``, in order, counted each time they are repeated; and the references to them."""
    wanted: set[bytes] = set()
    taken: list[Reference] = []
    refused: set[bytes] = set()
    size = 0
    for reference in references:
        # Once left out, left out everywhere: an answer does not show a payload in one place and its reference in another.
        if reference.sha256 in refused or size + reference.size_bytes > limit_bytes:
            refused.add(reference.sha256)
            continue
        size += reference.size_bytes
        wanted.add(reference.sha256)
        taken.append(reference)
    return wanted, taken


async def _contents(
    backend: Backend, turn: Turn, tenant: str, wanted: set[bytes], time_range: TimeRange
) -> tuple[Contents, tuple[str, ...]]:
    """The payloads by hash, and the missing shards. A payload is in the hour of the item that refers to it; one posted by hand may be
    elsewhere.
    """
    found = await turn.ask(backend.payloads.get_payloads(tenant, wanted, time_range))
    absent = wanted - found.value.keys()
    if not absent:
        return found.value, ()
    elsewhere = await turn.ask(backend.payloads.get_payloads(tenant, absent, ALL_TIME))
    return {**found.value, **elsewhere.value}, tuple(dict.fromkeys((*found.missing, *elsewhere.missing)))
