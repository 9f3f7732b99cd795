"""The two WALs of a shard, pure: one for items near the current time, and one for items far from it (docs/adr/0013).

A WAL is identified by a number: the shard's own, or that plus ``ASIDE``. Each has its own stream, writer lease and tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from tael.model.time import HOUR_NS

ASIDE = 1 << 16
"""Added to a shard's number for its second WAL, the one aside; larger than any number of shards."""


INCREMENT_HOURS = 72
"""How many hours back an increment counts at its own time. All increments of a series need one order, so all are in the first WAL, and
there they must not spread over more hours than one insert takes."""
_HOUR_MS = HOUR_NS // 1_000_000


@dataclass(frozen=True, slots=True)
class Near:
    """The times that count as near: ``since_ns <= t < until_ns``, whole hours."""

    since_ns: int
    until_ns: int


def near(now_ns: int, hours: int) -> Near:
    """The current hour, and ``hours`` before and after it."""
    this_hour_ns = now_ns - now_ns % HOUR_NS
    return Near(max(0, this_hour_ns - hours * HOUR_NS), this_hour_ns + (hours + 1) * HOUR_NS)


def counted_at_ms(time_ms: int, arrived_ms: int) -> int:
    """The time at which an increment counts: its own, but not after its arrival, nor more than ``INCREMENT_HOURS`` full hours before.

    Receivers announce its series for the hour of that time, and writers add it to the total there.
    """
    return min(max(time_ms, counted_from_ms(arrived_ms)), arrived_ms)


def counted_from_ms(arrived_ms: int) -> int:
    """The earliest time at which an increment that arrives at ``arrived_ms`` counts: a full hour."""
    return arrived_ms - arrived_ms % _HOUR_MS - INCREMENT_HOURS * _HOUR_MS


def aside_of(shard: int) -> int:
    """The number of the WAL for a shard's items far from the current time."""
    return shard + ASIDE


def shard_of_wal(wal: int) -> int:
    """The shard to which a WAL's items belong."""
    return wal % ASIDE


def wal_name(wal: int) -> str:
    """A WAL's name in streams, keys, logs and metrics: ``0``, or ``0_aside``."""
    return f"{shard_of_wal(wal)}_aside" if wal >= ASIDE else str(wal)


def wal_of_name(name: str) -> int | None:
    """The WAL with this name (``wal_name``), None for any other text."""
    number, aside, rest = name.partition("_aside")
    if rest or not number.isdecimal():
        return None
    return aside_of(int(number)) if aside else int(number)
