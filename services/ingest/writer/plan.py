"""Plans the inserts of a batch; pure. Everything here depends only on the entries and the intent, so that a successor that repeats an
intent makes the same inserts under the same tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.ingest.writer.flat import FLAT_BYTES, flat_bytes
from tael.cluster.lease import Intent
from tael.model.mark import Mark
from tael.model.signals import REFERRED
from tael.storage.api import LANDING
from tael.wal.api import Entry

# Gathering starts together with the insert, so a factor of four means that under light load the hot tier inserts a quarter of the time.
_LINGER_MIN_SECONDS, _LINGER_FACTOR = 0.1, 4.0


def linger_seconds(insert_seconds: float, most_seconds: float) -> float:
    """How long to gather entries for the next insert: several times as long as the last insert took, so that inserts never crowd
    out reads.
    """
    return min(most_seconds, max(_LINGER_MIN_SECONDS, insert_seconds * _LINGER_FACTOR))


def intent_of(entries: Sequence[Entry], insert_items: int, mark: Mark | None = None) -> Intent:
    """The intent to write ``entries``, the last of which has this mark.

    Cuts make inserts of about equal size, of at most ``insert_items`` items and FLAT_BYTES flattened bytes unless a single entry exceeds
    them.
    """
    items = sum(entry.items for entry in entries)
    # Equal shares rather than full inserts and a small rest: the fixed cost of a small insert is that of a large one (docs/adr/0004).
    share = items / (-(-items // insert_items) or 1)
    cuts: list[int] = []
    before, full, flat = 0, 1, 0
    for entry in entries:
        size = flat_bytes(entry.signal, entry.body)
        if before and (before >= full * share or flat + size > FLAT_BYTES):
            cuts.append(entry.sequence)
            flat = 0
        # A large entry may fill several shares at once; the next cut is due where the first share that is not yet full ends.
        while before >= full * share > 0:
            full += 1
        before, flat = before + entry.items, flat + size
    return Intent(first=entries[0].sequence, last=entries[-1].sequence, cuts=tuple(cuts), mark=mark, flat_bytes=FLAT_BYTES, landing=LANDING)


@dataclass(frozen=True, slots=True)
class Insert:
    """Entries of one signal, written together under one deduplication token."""

    signal: str
    token: str
    entries: Sequence[Entry]


def inserts_of(entries: Sequence[Entry], intent: Intent, prefix: str) -> list[Insert]:
    """The inserts of an intent, one for each range and signal; their tokens begin with ``prefix``."""
    return [insert for first, last in intent.ranges() for insert in _inserts_of_range(entries, first, last, prefix)]


def _inserts_of_range(entries: Iterable[Entry], first: int, last: int, prefix: str) -> list[Insert]:
    by_signal: dict[str, list[Entry]] = {}
    for entry in entries:
        if first <= entry.sequence <= last:
            by_signal.setdefault(entry.signal, []).append(entry)
    return [Insert(signal, f"{prefix}:{first}-{last}:{signal}", group) for signal, group in sorted(by_signal.items())]


def in_turns(inserts: Iterable[Insert]) -> list[list[Insert]]:
    """The inserts in groups that must be written one after the other: first those that others refer to (payloads)."""
    groups: tuple[list[Insert], list[Insert]] = ([], [])
    for insert in inserts:
        groups[insert.signal not in REFERRED].append(insert)
    return [group for group in groups if group]


def prepared_insert(entry: Entry, prefix: str) -> Insert:
    """The insert of an entry computed by a preparation. Its token is a digest of the content, as a repeat may compute another one."""
    return Insert(entry.signal, f"{prefix}:{entry.signal}:prepared:{hashlib.sha256(entry.body).hexdigest()[:40]}", [entry])
