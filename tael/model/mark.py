"""A place in a shard's WAL that can be recognised later: a sequence alone cannot, as a WAL that lost its tail uses sequences again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """An entry: its sequence, when the server took it (ns since the epoch), a digest of its body, and when its stream was made (ns).

    Without a digest the entry is not known, and nothing is held against it: the place before all entries, or one that an older release kept.
    """

    sequence: int = 0
    appended_at_ns: int = 0
    digest: str = ""
    stream_created_ns: int = 0
