"""What a question takes: the shards that it asks, and what their statements read, however deep below the API they run.

    with measured() as work:
        answer = await reader.find_spans(tenant, query)
    work.rows

The count is in the context, which tasks and threads inherit, so that ports need no parameter for it. Blocks may be nested: each counts what
is done within it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class Work:
    """What was done so far. ``asked`` and ``answered`` count shards, once for each time that one was asked; ``rows`` and ``bytes``
    (uncompressed) are what the hot tier says that ``statements`` read, and ``traces`` the traces that were evaluated.
    """

    asked: int = 0
    answered: int = 0
    statements: int = 0
    rows: int = 0
    bytes: int = 0
    traces: int = 0


_MEASURED: Final[ContextVar[tuple[Work, ...]]] = ContextVar("measured", default=())


@contextlib.contextmanager
def measured() -> Iterator[Work]:
    """Count the work of the block and of the tasks that it starts. It MUST NOT contain the ``yield`` of an async generator, whose caller
    may be another task.
    """
    work = Work()
    token = _MEASURED.set((*_MEASURED.get(), work))
    try:
        yield work
    finally:
        _MEASURED.reset(token)


def is_measured() -> bool:
    """Whether somebody wants to know."""
    return bool(_MEASURED.get())


def add(*, asked: int = 0, answered: int = 0, statements: int = 0, rows: int = 0, size: int = 0, traces: int = 0) -> None:
    """Add to the work of every block that this is part of; ``size`` is in bytes."""
    for work in _MEASURED.get():
        work.asked += asked
        work.answered += answered
        work.statements += statements
        work.rows += rows
        work.bytes += size
        work.traces += traces
