"""A position in a shard's WAL that can be recognised later. A sequence alone is not enough: a WAL that lost its tail reuses sequences."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """An entry: its sequence, when the server stored it (ns since the epoch), a digest of its body, and when its stream was created (ns).

    Without a digest the entry is unknown and cannot be verified: the position before all entries, or one recorded by an older release.
    """

    sequence: int = 0
    appended_at_ns: int = 0
    digest: str = ""
    stream_created_ns: int = 0
