"""The port that deletes what belongs to a trace, a user, a session or a tenant, for the compactor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to go of a tenant: what came up to ``before_ns``. ``value`` is a trace's id in hex, a user or a session; it says nothing for a tenant."""

    tenant: str
    kind: Literal["trace", "user", "session", "tenant"]
    value: str
    before_ns: int


class EraseStore(Protocol):
    """One shard's rows, in every table and on their way out of the hot tier.

    Every method can be repeated by anybody at any time, and raises Retryable when the shard does not answer, Rejected when it refuses for good.
    """

    async def next_traces(self, what: Erasure, limit: int) -> Sequence[bytes]:
        """Some traces of which a span belongs to the user or session, the oldest first; the trace itself while anything of it is there.

        Empty once there is none. MUST find a trace again until ``erase_traces`` has returned for it.
        """
        ...

    async def erase_traces(self, what: Erasure, traces: Sequence[bytes]) -> int:
        """Delete their spans, log records, exemplars and index; how many rows. What came after ``before_ns`` stays."""
        ...

    async def erase_rest(self, what: Erasure) -> int:
        """Delete what is in no such trace: log records of the user or session and what suggestions remember of them, or all of a tenant."""
        ...
