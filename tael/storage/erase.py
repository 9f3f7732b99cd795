"""The port that deletes what belongs to a trace, a user, a session or a tenant, for the compactor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tael.cold.files import ColdFile
from tael.storage.rolling import Pace


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to go of a tenant: what came up to ``before_ns``. ``value`` is a trace's id in hex, a user or a session; it says nothing for a tenant."""

    tenant: str
    kind: Literal["trace", "user", "session", "tenant"]
    value: str
    before_ns: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Of what is to go, the rows of these traces or, without traces, what is in no such trace (see ``erase_rest``).

    With ``hour_ns`` it is nothing but payloads of that hour, as far as they came up to ``before_ns``: those of ``hashes``, or all where there are none.
    """

    what: Erasure
    traces: tuple[bytes, ...] = ()
    hashes: tuple[bytes, ...] = ()
    hour_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """Why payloads are condemned, from when on, and when they are due to be looked at again."""

    name: str
    since_ns: int
    due_ns: int


@dataclass(frozen=True, slots=True)
class Condemned:
    """How many payloads are, and when the last of them is due."""

    count: int
    due_ns: int


@dataclass(frozen=True, slots=True)
class Selected:
    """The rows of a file that are to go, and the checksum over their ids."""

    rows: int
    checksum: str


class EraseStore(Protocol):
    """One shard's rows, in every table and on their way out of the hot tier.

    Every method can be repeated by anybody at any time, and raises Retryable when the shard does not answer, Rejected when it refuses for good.
    """

    async def next_traces(self, what: Erasure, limit: int) -> Sequence[bytes]:
        """Some traces of which a span belongs to the user or session, the oldest first; empty once there is none."""
        ...

    async def erase_traces(self, what: Erasure, traces: Sequence[bytes]) -> int:
        """Delete their spans, log records and exemplars; how many rows. What came after ``before_ns`` stays."""
        ...

    async def erase_index(self, what: Erasure, traces: Sequence[bytes]) -> int:
        """Delete their index, but of those that go on after ``before_ns``; how many rows. It says which hours a trace has: this comes last."""
        ...

    async def erase_rest(self, what: Erasure) -> int:
        """Delete what is in no such trace: log records of the user or session and what suggestions remember of them, or all of a tenant but its
        payloads.
        """
        ...

    async def loose_items(self, what: Erasure) -> Sequence[bytes]:
        """Of the log records of the user or session that are in no trace: what those that refer to payloads are known by in the index of references."""
        ...

    async def condemn(self, what: Erasure, items: Sequence[bytes], cause: Cause) -> None:
        """Forget what traces and such log records refer to, or all that a tenant's rows do, up to ``before_ns``; the payloads are condemned before.

        Those that something else refers to are spared when they are looked at again (CollectStore).
        """
        ...

    async def condemned(self, cause: str) -> Condemned:
        """What is left of those that were condemned for a cause and that nothing else refers to."""
        ...


class ColdEraseStore(Protocol):
    """Rows of one shard in the files of its cold tier. Which files count, and which take their place, is the caller's to commit.

    Every method raises Retryable when the shard or the bucket does not answer, Rejected when it refuses for good.
    """

    async def next_traces(self, what: Erasure, files: Sequence[ColdFile], limit: int) -> Sequence[bytes]:
        """Some traces of which a span in these files belongs to the user or session, the oldest first; empty once there is none."""
        ...

    async def hours_of(self, what: Erasure, traces: Sequence[bytes]) -> frozenset[int]:
        """The starts of the hours, ns, in which these traces have spans, by their index."""
        ...

    async def later_traces(self, what: Erasure, traces: Sequence[bytes], files: Sequence[ColdFile]) -> frozenset[bytes]:
        """Those of which these files have spans that came after ``before_ns``."""
        ...

    async def select(self, selection: Selection, files: Sequence[ColdFile]) -> dict[ColdFile, Selected]:
        """The files of one table that hold rows which are to go, and which these are."""
        ...

    async def loose_items(self, what: Erasure, files: Sequence[ColdFile]) -> Sequence[bytes]:
        """See EraseStore, of files of log records."""
        ...

    async def rewrite(self, selection: Selection, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
        """Write one file with what is to stay of several of one hour and tenant, and read it back. Of rows with one key the latest generation's counts.

        Something MUST stay: a file without rows cannot be read back.
        """
        ...
