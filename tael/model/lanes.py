"""The two WALs of a shard, pure: one for items of about now, and one for those that lie far from it (docs/adr/0013).

A WAL is known by a number: a shard's own, or that plus ``ASIDE``. Each has its own stream, writer lease and tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from tael.model.time import HOUR_NS

ASIDE = 1 << 16
"""What the numbers of the WALs aside begin with: more than there are shards."""


INCREMENT_HOURS = 72
"""How many hours back an increment counts at its own time. One series' increments need one order, so all of them are in the first WAL: there
they must not spread over more hours than one insert takes."""
_HOUR_MS = HOUR_NS // 1_000_000


@dataclass(frozen=True, slots=True)
class Near:
    """Instants of about now: ``since_ns <= t < until_ns``, whole hours."""

    since_ns: int
    until_ns: int


def near(now_ns: int, hours: int) -> Near:
    """So many hours before the one that is now, that one, and as many after it."""
    this_hour_ns = now_ns - now_ns % HOUR_NS
    return Near(max(0, this_hour_ns - hours * HOUR_NS), this_hour_ns + (hours + 1) * HOUR_NS)


def counted_at_ms(time_ms: int, arrived_ms: int) -> int:
    """When an increment counts: at its time, but not ahead of its arrival, nor more than ``INCREMENT_HOURS`` full hours before.

    Receivers announce its series for that hour, and writers add it up there.
    """
    return min(max(time_ms, counted_from_ms(arrived_ms)), arrived_ms)


def counted_from_ms(arrived_ms: int) -> int:
    """The earliest time that increments count at which arrive then, a full hour."""
    return arrived_ms - arrived_ms % _HOUR_MS - INCREMENT_HOURS * _HOUR_MS


def aside_of(shard: int) -> int:
    """The WAL for a shard's items that lie far from now."""
    return shard + ASIDE


def shard_of_wal(wal: int) -> int:
    """The shard that a WAL's items go to."""
    return wal % ASIDE


def wal_name(wal: int) -> str:
    """How streams, keys, logs and metrics call a WAL: ``0``, or ``0_aside``."""
    return f"{shard_of_wal(wal)}_aside" if wal >= ASIDE else str(wal)


def wal_of_name(name: str) -> int | None:
    """The WAL of such a name, None for any other text."""
    number, aside, rest = name.partition("_aside")
    if rest or not number.isdecimal():
        return None
    return aside_of(int(number)) if aside else int(number)
