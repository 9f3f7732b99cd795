"""The series seen before, so that most points are recognised by their bytes alone; an LRU cache of bounded size.

A series is known for one hour of its samples once its announcement is in the WAL. An evicted series is merely announced again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Ids: TypeAlias = bytes
"""Metric id and series id, 8 bytes little-endian each; concatenated for several series."""
PAIR_BYTES = 16
# The current hour, the previous one for late samples, and the next one for clocks that are ahead.
KNOWN_HOURS = 3


@dataclass(slots=True, eq=False)
class Group:
    """What is cached under one key, such as a resource; it is evicted as a whole. ``contexts`` belong to the user of the group."""

    key: Hashable
    size: int = 1
    contexts: dict[Hashable, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Known:
    """The ids of series by the bytes that identify them, for each hour for which they were announced; the last few hours are kept."""

    group: Group
    hours: dict[int, dict[Hashable, Ids]] = field(default_factory=dict)

    def at(self, hour: int) -> dict[Hashable, Ids]:
        """The ids of one hour (its start, always in the same unit); not to be modified."""
        return self.hours.get(hour, _NOTHING)


_NOTHING: dict[Hashable, Ids] = {}
Learned: TypeAlias = "tuple[Known, int, Hashable, Ids]"


class SeriesCache:
    """Groups in LRU order, with at most ``max_entries`` series and contexts in all.

    Two threads may use it at once: what one evicts while the other uses it is merely announced again.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._groups: OrderedDict[Hashable, Group] = OrderedDict()
        self.entries = 0

    def group(self, key: Hashable) -> Group:
        """The group of a key, created if necessary, and marked as the most recently used one."""
        found = self._groups.get(key)
        if found is None:
            found = self._groups[key] = Group(key)
            self._count(found, 1)
        else:
            with suppress(KeyError):
                self._groups.move_to_end(key)
        return found

    def context_added(self, group: Group) -> None:
        """Count one more of a group's contexts."""
        group.size += 1
        self._count(group, 1)

    def learn(self, learned: list[Learned]) -> None:
        """Remember series whose announcements are now durable."""
        for known, hour, key, ids in learned:
            names = known.hours.get(hour)
            if names is None:
                names = known.hours[hour] = {}
                self._forget_old_hours(known)
            if key not in names:
                names[key] = ids
                known.group.size += 1
                self._count(known.group, 1)

    def _forget_old_hours(self, known: Known) -> None:
        while len(known.hours) > KNOWN_HOURS:
            # The hour that was added first, whatever its time: during a backfill the oldest hour may be the one in use.
            forgotten = len(known.hours.pop(next(iter(known.hours))))
            known.group.size -= forgotten
            self._count(known.group, -forgotten)

    def _count(self, group: Group, more: int) -> None:
        # A group that was evicted while a request used it is not counted any more, as its entries would never be subtracted again.
        if self._groups.get(group.key) is not group:
            return
        self.entries += more
        with suppress(KeyError):
            while self.entries > self._max_entries:
                _, oldest = self._groups.popitem(last=False)
                self.entries -= oldest.size
