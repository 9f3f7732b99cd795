"""Decides what to do next for one shard's cold tier, pure: only from its manifest and the existing partitions, whatever process acted
before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from tael.cold.files import GATHERED, ROLLED, ROLLED_UP, ColdFile, day_of
from tael.cold.manifest import DROPPING, MOVING, Manifest, OpenHour, Trash
from tael.model.time import DAY_NS, HOUR_NS

OPEN_AT_MOST: Final = 8
"""Hours that may be on their way at a time when some are set aside: readers look for each in two tables, and the head lists it."""


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work that can fail by itself: its ``kind``, the hour or day of a table, and the tenant if it is for only one."""

    kind: str
    table: str
    start_ns: int
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Partition:
    """An hour of a table, or of its rolling twin. ``newest_ns`` is when the engine last wrote a part of it."""

    table: str
    hour_ns: int
    rows: int
    bytes: int
    newest_ns: int


@dataclass(frozen=True, slots=True)
class Partitions:
    """The partitions of the hot tables and those of the rolling tables."""

    hot: tuple[Partition, ...]
    rolling: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Which hours leave the hot tier: those that ended before ``before_ns`` and to which nothing was added for ``quiet_ns``."""

    before_ns: int
    quiet_ns: int


@dataclass(frozen=True, slots=True)
class Begin:
    """Commit that the hour is moving, then move it."""

    partition: Partition


@dataclass(frozen=True, slots=True)
class Adopt:
    """The rolling table has rows of an hour that the manifest does not list: add the hour to the manifest."""

    partition: Partition


@dataclass(frozen=True, slots=True)
class Move:
    """The hour is listed as moving and still in the hot table: move it."""

    hour: OpenHour


@dataclass(frozen=True, slots=True)
class Untangle:
    """The hour is in both tables: either rows came late after the move, or the engine was cut off during it. Find out which, and go on."""

    hour: OpenHour


@dataclass(frozen=True, slots=True)
class RecordMoved:
    """The hour is only in the rolling table: commit that it was moved."""

    hour: OpenHour


@dataclass(frozen=True, slots=True)
class RecordUnmoved:
    """The hour is in neither table, or its move fails: commit that it is not moving."""

    hour: OpenHour


@dataclass(frozen=True, slots=True)
class Export:
    """Write the hour's files, compare them with the rolling table, and commit them."""

    hour: OpenHour


@dataclass(frozen=True, slots=True)
class Drop:
    """The hour's files are committed: drop the hour from the rolling table."""

    hour: OpenHour


@dataclass(frozen=True, slots=True)
class RecordDropped:
    """The hour is gone from the rolling table: commit that it is done."""

    hour: OpenHour


Step: TypeAlias = Begin | Adopt | Move | Untangle | RecordMoved | RecordUnmoved | Export | Drop | RecordDropped


def next_step(manifest: Manifest, partitions: Partitions, policy: Policy, now_ns: int, aside: Collection[Work] = ()) -> Step | None:
    """The next step of a shard's roll; None when there is nothing to do now.

    Hours that were begun are finished first, then unlisted hours are adopted, then the oldest hour that may leave is begun. Every step
    changes the manifest or the partitions, or can be repeated. Hours in ``aside`` are skipped; one whose move fails is given back to the
    hot table.
    """
    rolling = {(one.table, one.hour_ns): one for one in partitions.rolling}
    hot = {(one.table, one.hour_ns) for one in partitions.hot}
    # One hour at a time: a second one would only add rows that readers have to look for in two tables.
    for hour in manifest.head.open:
        place = (hour.table, hour.hour_ns)
        if rolls(*place) not in aside:
            return _finish(hour, in_hot=place in hot, in_rolling=place in rolling)
        if hour.state == MOVING and place in hot and place not in rolling:
            return RecordUnmoved(hour)  # as long as it is listed as moving, its readers wait
    known = {(hour.table, hour.hour_ns) for hour in manifest.head.open}
    unknown = [one for place, one in rolling.items() if place not in known and rolls(*place) not in aside]
    if unknown:
        return Adopt(min(unknown, key=_age))
    # Of one hour the tables leave in the order of ROLLED (``_age``).
    leaving = [
        one
        for one in waiting(partitions.hot, policy, now_ns)
        if (one.table, one.hour_ns) not in known and rolls(one.table, one.hour_ns) not in aside
    ]
    return Begin(leaving[0]) if leaving and len(known) < OPEN_AT_MOST else None


def rolls(table: str, hour_ns: int) -> Work:
    """The work of rolling an hour."""
    return Work("roll", table, hour_ns)


def work_of(step: Step) -> Work:
    """The work that a step belongs to: the roll of its hour."""
    one = step.partition if isinstance(step, (Begin, Adopt)) else step.hour
    return rolls(one.table, one.hour_ns)


def _finish(hour: OpenHour, *, in_hot: bool, in_rolling: bool) -> Step:
    if hour.state == MOVING:
        if in_rolling:
            return Untangle(hour) if in_hot else RecordMoved(hour)
        return Move(hour) if in_hot else RecordUnmoved(hour)
    if hour.state == DROPPING:
        return Drop(hour) if in_rolling else RecordDropped(hour)
    return Export(hour)


def waiting(hot: Iterable[Partition], policy: Policy, now_ns: int) -> list[Partition]:
    """The partitions that may leave the hot tier now, oldest first."""
    # An hour that is not over is still written to, so it stays even if ``before_ns`` is in the future.
    over = min(policy.before_ns, now_ns)
    return sorted(
        (one for one in hot if one.table in ROLLED and one.hour_ns + HOUR_NS <= over and now_ns - one.newest_ns >= policy.quiet_ns),
        key=_age,
    )


def _age(partition: Partition) -> tuple[int, int]:
    return partition.hour_ns, list(ROLLED).index(partition.table) if partition.table in ROLLED else -1


def hours_to_merge(manifest: Manifest, aside: Collection[Work] = ()) -> list[tuple[str, int]]:
    """The (table, hour) pairs in the loaded pages for which some tenant has several files that are neither rollups nor days; oldest first.

    Here and below, work in ``aside`` is left out.
    """
    found: set[tuple[int, str]] = set()
    for (table, _), files in manifest.pages.items():
        seen: set[tuple[int, str]] = set()
        for file in files:
            if file.settled:
                continue
            one = (file.hour_ns, file.tenant)
            # An hour on its way is about to get another file and would have to be merged again.
            if one in seen and manifest.open_hour(table, file.hour_ns) is None:
                found.add((file.hour_ns, table))
            seen.add(one)
    return [(table, hour_ns) for hour_ns, table in sorted(found) if Work("merge", table, hour_ns) not in aside]


def next_to_roll_up(manifest: Manifest, before_ns: int, aside: Collection[Work] = ()) -> ColdFile | None:
    """The oldest file of samples or histograms in the loaded pages that is to become a rollup: its hour ended by ``before_ns``.

    It is the only file of its table, tenant and hour: several files are merged first, and rows that came after a rollup stay beside it.
    """
    counts = Counter(
        (table, hour_ns, file.tenant)
        for (table, _), files in manifest.pages.items()
        if table in ROLLED_UP
        for file in files
        for hour_ns in file.each_hour
    )
    waiting = (
        file
        for (table, day), files in manifest.pages.items()
        if table in ROLLED_UP and day < before_ns
        for file in files
        if not file.settled
        and file.hour_ns + HOUR_NS <= before_ns
        and counts[table, file.hour_ns, file.tenant] == 1
        and manifest.open_hour(table, file.hour_ns) is None
        and rolls_up(file) not in aside
    )
    return min(waiting, key=lambda file: (file.hour_ns, file.table, file.tenant), default=None)


def rolls_up(raw: ColdFile) -> Work:
    """The work of rolling up a file."""
    return Work("roll up", raw.table, raw.hour_ns, raw.tenant)


def gathers(file: ColdFile) -> Work:
    """The work of gathering the day of a file."""
    return Work("gather", file.table, day_of(file.hour_ns), file.tenant)


def next_to_gather(manifest: Manifest, before_ns: int, aside: Collection[Work] = ()) -> Sequence[ColdFile]:
    """The files of a table, a tenant and a day in the loaded pages that are to become one, of the oldest such day that ended by
    ``before_ns``; usually none.

    Raw files that came after a rollup are not gathered: they stay beside the day.
    """
    on_their_way = {(hour.table, day_of(hour.hour_ns)) for hour in manifest.head.open}
    for (table, day), files in sorted(manifest.pages.items(), key=lambda page: (page[0][1], page[0][0])):
        if table not in GATHERED or day + DAY_NS > before_ns or (table, day) in on_their_way:
            continue
        of_tenant: dict[str, list[ColdFile]] = {}
        for file in files:
            if file.resolution or table not in ROLLED_UP:
                of_tenant.setdefault(file.tenant, []).append(file)
        for _, several in sorted(of_tenant.items()):
            if len(several) > 1 and gathers(several[0]) not in aside:
                return several
    return ()


def to_sweep(manifest: Manifest, grace_ns: int, now_ns: int, aside: Collection[Work] = ()) -> list[Trash]:
    """The lists of keys that have been unnamed for at least ``grace_ns``, oldest first: no reader can still need them."""
    return [trash for trash in manifest.head.trash if now_ns - trash.since_ns >= grace_ns and sweeps(trash) not in aside]


def sweeps(trash: Trash) -> Work:
    """The work of sweeping a list of unnamed keys."""
    return Work("sweep", trash.key, trash.since_ns)
