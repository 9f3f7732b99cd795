"""The ports through which the compactor deletes the data of a trace, a user, a session or a tenant."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from tael.cold.files import ColdFile
from tael.storage.rolling import Pace

StreamHour: TypeAlias = tuple[int, int]
"""A stream of logs, and the start of an hour in ns."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """The data of a tenant to delete, as far as it came by ``before_ns``. ``value`` is a trace id in hex, a user or a session; it is unused
    for a tenant.
    """

    tenant: str
    kind: Literal["trace", "user", "session", "tenant"]
    value: str
    before_ns: int


@dataclass(frozen=True, slots=True)
class Selection:
    """A part of an erasure: the rows of these traces or, without traces, the rows that are in no such trace (see ``erase_rest``).

    With ``hour_ns`` it is only payloads of that hour that came by ``before_ns``: those of ``hashes``, or all of them when ``hashes`` is
    empty.
    """

    what: Erasure
    traces: tuple[bytes, ...] = ()
    hashes: tuple[bytes, ...] = ()
    hour_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a deletion of a tenant leaves because rows in the cold tier came after the request: traces with spans, and streams with log
    records in an hour.
    """

    traces: Collection[bytes] = ()
    streams: Collection[StreamHour] = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """Why payloads are condemned, from when on, and when they are due to be looked at again."""

    name: str
    since_ns: int
    due_ns: int


@dataclass(frozen=True, slots=True)
class Condemned:
    """How many payloads are condemned, and when the last of them is due."""

    count: int
    due_ns: int


@dataclass(frozen=True, slots=True)
class Selected:
    """The number of rows of a file to delete, and the checksum over their ids."""

    rows: int
    checksum: str


class EraseStore(Protocol):
    """One shard's rows, in every hot table and rolling table.

    Any process may repeat any method at any time. Every method raises Retryable when the shard does not answer, and Rejected when it
    refuses for good.
    """

    async def next_traces(self, what: Erasure, limit: int) -> Sequence[bytes]:
        """At most ``limit`` traces with a span of the user or session, the oldest first; empty once there is none."""
        ...

    async def erase_traces(self, what: Erasure, traces: Sequence[bytes]) -> int:
        """Delete the spans, log records and exemplars of these traces and return how many rows. Rows that came after ``before_ns`` stay."""
        ...

    async def erase_index(self, what: Erasure, traces: Sequence[bytes]) -> int:
        """Delete the index rows of these traces, except of traces that go on after ``before_ns``, and return how many.

        The index tells which hours a trace has, so this comes last.
        """
        ...

    async def erase_rest(self, what: Erasure, kept: Kept | None = None) -> int:
        """Delete what is in no such trace and return how many rows: log records of the user or session and what suggestions remember of
        them, or all data of a tenant but its payloads.

        The index of the tenant's traces, and its streams, stay where later rows need them, in the hot tier or as ``kept`` says; all of them
        if it is None.
        """
        ...

    async def loose_items(self, what: Erasure) -> Sequence[bytes]:
        """The keys in the index of references of those log records of the user or session that are in no trace and refer to payloads."""
        ...

    async def condemn(self, what: Erasure, items: Sequence[bytes], cause: Cause) -> None:
        """Condemn the payloads to which these items (traces or loose log records) or all rows of a tenant refer up to ``before_ns``, then
        delete the references.

        Payloads that something else refers to are spared at the second look (CollectStore).
        """
        ...

    async def condemned(self, cause: str) -> Condemned:
        """The payloads condemned for a cause that still exist and that nothing else refers to."""
        ...


class ColdEraseStore(Protocol):
    """Rows of one shard in the files of its cold tier. Committing which files are valid and which replace them is up to the caller.

    Every method raises Retryable when the shard or the bucket does not answer, and Rejected when it refuses for good.
    """

    async def next_traces(self, what: Erasure, files: Sequence[ColdFile], limit: int) -> Sequence[bytes]:
        """At most ``limit`` traces with a span of the user or session in these files, the oldest first; empty once there is none."""
        ...

    async def hours_of(self, what: Erasure, traces: Sequence[bytes]) -> frozenset[int]:
        """The starts (ns) of the hours in which these traces have spans, according to their index."""
        ...

    async def later_traces(self, what: Erasure, traces: Sequence[bytes], files: Sequence[ColdFile]) -> frozenset[bytes]:
        """Those of ``traces`` of which these files have spans that came after ``before_ns``."""
        ...

    async def all_later_traces(self, what: Erasure, files: Sequence[ColdFile]) -> frozenset[bytes]:
        """The traces of which these files have spans that came after ``before_ns``."""
        ...

    async def later_streams(self, what: Erasure, files: Sequence[ColdFile]) -> frozenset[StreamHour]:
        """The streams of log records in these files that came after ``before_ns``, with the hours of these records."""
        ...

    async def select(self, selection: Selection, files: Sequence[ColdFile]) -> dict[ColdFile, Selected]:
        """The files, all of one table, that hold rows of the selection, each with a count and checksum of those rows."""
        ...

    async def loose_items(self, what: Erasure, files: Sequence[ColdFile]) -> Sequence[bytes]:
        """See EraseStore; of the log records in these files."""
        ...

    async def rewrite(self, selection: Selection, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
        """Write one file with the remaining rows of several files of one hour and tenant, and read it back. Of rows with the same key, that
        of the latest generation is kept.

        At least one row MUST remain: a file without rows cannot be read back.
        """
        ...
