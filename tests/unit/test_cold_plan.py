"""The next step for a cold tier: every state that a crash can leave has exactly one next step, and all sequences end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from tael.cold import plan
from tael.cold import transitions as m
from tael.cold.files import ROLLED, ColdFile, day_of
from tael.cold.manifest import Head, Manifest, OpenHour
from tael.cold.plan import Partition, Partitions, Policy, next_step, waiting
from tael.cold.transitions import Change
from tael.model.time import HOUR_NS
from tests.support.cold_files import HOUR, NOW, a_file, rolled

Key = tuple[str, int]


def of(table: str, hour_ns: int, newest_ns: int = 0) -> Partition:
    return Partition(table, hour_ns, 1, 1, newest_ns)


def test_hours_leave_when_they_are_over_and_quiet() -> None:
    """The oldest hour first, and of one hour spans first; tables without a cold tier stay."""
    hot = [of("spans", HOUR + 2 * HOUR_NS), of("logs", HOUR), of("spans", HOUR), of("red", HOUR), of("spans", HOUR - HOUR_NS, NOW - 5)]
    leaving = waiting(hot, Policy(HOUR + 2 * HOUR_NS, 10), NOW)
    assert [(one.table, one.hour_ns) for one in leaving] == [("spans", HOUR), ("logs", HOUR)]
    assert waiting(hot[:4], Policy(1 << 62, 0), HOUR + HOUR_NS - 1) == []
    assert waiting(hot[4:], Policy(1 << 62, 5), NOW) == hot[4:]


def test_what_was_begun_is_finished_first() -> None:
    """According to what its partitions show."""
    moving = m.begin_move(Manifest(Head(0)), "spans", HOUR, 1).manifest
    rolling = m.moved(moving, "spans", HOUR, 1).manifest
    dropping = m.committed(rolling, "spans", HOUR, [], 1, NOW).manifest
    here, other = (of("spans", HOUR),), (of("logs", HOUR - HOUR_NS),)
    expected: list[tuple[Manifest, bool, bool, Callable[[OpenHour], plan.Step]]] = [
        (moving, True, False, plan.Move),
        (moving, True, True, plan.Untangle),
        (moving, False, True, plan.RecordMoved),
        (moving, False, False, plan.RecordUnmoved),
        (rolling, True, True, plan.Export),
        (rolling, False, False, plan.Export),
        (dropping, True, True, plan.Drop),
        (dropping, False, False, plan.RecordDropped),
    ]
    for manifest, in_hot, in_rolling, step in expected:
        found = next_step(manifest, Partitions(other + here * in_hot, other + here * in_rolling), Policy(1 << 62, 0), NOW)
        assert found == step(manifest.head.open[0])


def test_an_hour_that_is_set_aside_holds_no_other_up() -> None:
    """It stays where it is; a moving hour is given back, because readers wait for it. Only a few hours are on their way at a time."""
    policy, bad, next_hour = Policy(1 << 62, 0), {plan.rolls("spans", HOUR)}, of("spans", HOUR + HOUR_NS)
    moving = m.begin_move(Manifest(Head(0)), "spans", HOUR, 1).manifest
    rolling = m.moved(moving, "spans", HOUR, 1).manifest
    both = Partitions((of("spans", HOUR), next_hour), (of("spans", HOUR),))
    assert next_step(Manifest(Head(0)), Partitions(both.hot, ()), policy, NOW, bad) == plan.Begin(next_hour)
    assert next_step(Manifest(Head(0)), both, policy, NOW, bad) == plan.Begin(next_hour)
    assert next_step(moving, Partitions(both.hot, ()), policy, NOW, bad) == plan.RecordUnmoved(moving.head.open[0])
    assert next_step(rolling, both, policy, NOW, bad) == plan.Begin(next_hour)
    assert next_step(rolling, both, policy, NOW, {plan.rolls("spans", next_hour.hour_ns)}) == plan.Export(rolling.head.open[0])
    begun = m.begin_move(rolling, "spans", HOUR + HOUR_NS, 1).manifest
    step = next_step(begun, both, policy, NOW, bad)
    assert step == plan.Move(begun.head.open[1])
    assert plan.work_of(step) == plan.rolls("spans", HOUR + HOUR_NS)
    stuck, all_bad = rolling, set(bad)
    for number in range(1, plan.OPEN_AT_MOST):
        stuck = m.moved(m.begin_move(stuck, "logs", HOUR + number * HOUR_NS, 1).manifest, "logs", HOUR + number * HOUR_NS, 1).manifest
        all_bad.add(plan.rolls("logs", HOUR + number * HOUR_NS))
    assert next_step(stuck, both, policy, NOW, all_bad) is None


def test_the_oldest_hour_past_the_raw_window_is_rolled_up() -> None:
    """Of samples and histograms, once the hour is over, in one file and at rest; files beside a rollup stay."""
    manifest = rolled(rolled(Manifest(Head(0)), "samples", HOUR + HOUR_NS, "a"), "samples", HOUR, "a", "b")
    histograms = plan.next_to_roll_up(rolled(manifest, "histograms", HOUR - HOUR_NS, "a"), HOUR)
    assert histograms is not None
    assert (histograms.table, histograms.hour_ns) == ("histograms", HOUR - HOUR_NS)
    manifest = rolled(rolled(manifest, "exemplars", HOUR - HOUR_NS, "a"), "series", HOUR - HOUR_NS, "a")
    assert plan.next_to_roll_up(manifest, HOUR + HOUR_NS - 1) is None
    raw = plan.next_to_roll_up(manifest, HOUR + 9 * HOUR_NS)
    assert raw is not None
    assert (raw.table, raw.hour_ns, raw.tenant) == ("samples", HOUR, "a")
    rollup = replace(raw, generation=manifest.revision + 1, resolution=300)
    left = m.rolled_up(manifest, raw, rollup, 1, NOW).manifest
    later = plan.next_to_roll_up(left, HOUR + 9 * HOUR_NS)
    assert later is not None
    assert (later.hour_ns, later.tenant) == (HOUR, "b")
    assert plan.hours_to_merge(rolled(left, "samples", HOUR, "a")) == []
    late = plan.next_to_roll_up(rolled(left, "samples", HOUR, "a", "b"), HOUR + HOUR_NS)
    assert late is None
    moving = m.begin_move(left, "samples", HOUR, 1).manifest
    assert plan.next_to_roll_up(moving, HOUR + HOUR_NS) is None


def test_hours_with_several_files_of_a_tenant_are_merged() -> None:
    """Not those that are on their way."""
    manifest = rolled(rolled(rolled(Manifest(Head(0)), "spans", HOUR, "a"), "spans", HOUR, "a"), "logs", HOUR, "a")
    assert plan.hours_to_merge(manifest) == [("spans", HOUR)]
    assert plan.hours_to_merge(m.begin_move(manifest, "spans", HOUR, 1).manifest) == []


def test_old_days_are_gathered() -> None:
    """Rollups, and tables that have none; once the day is over and at rest, the oldest first."""
    day = day_of(HOUR)
    manifest = Manifest(Head(0))
    for table, hour in (("samples", 1), ("samples", 2), ("samples", 3), ("series", 1), ("series", 2), ("spans", 1), ("spans", 2)):
        manifest = rolled(manifest, table, day + hour * HOUR_NS, "a")
    assert plan.next_to_gather(manifest, day + 23 * HOUR_NS) == ()
    assert plan.next_to_gather(manifest, day + 24 * HOUR_NS) == manifest.files("series")
    moving = m.begin_move(manifest, "series", day + 9 * HOUR_NS, 1).manifest
    assert plan.next_to_gather(moving, day + 24 * HOUR_NS) == ()
    for raw in manifest.files("samples")[:2]:
        manifest = m.rolled_up(manifest, raw, replace(raw, generation=manifest.revision + 1, resolution=300), 1, NOW).manifest
    rollups = manifest.files("samples")[:2]
    assert plan.next_to_gather(manifest, day + 24 * HOUR_NS) == rollups
    whole = replace(rollups[0], hour_ns=day, hours=24, generation=manifest.revision + 1)
    left = m.gathered(manifest, rollups, whole, 1, NOW).manifest
    assert plan.next_to_gather(left, day + 24 * HOUR_NS) == left.files("series")
    late = rolled(left, "samples", day + HOUR_NS, "a")
    assert plan.hours_to_merge(rolled(late, "samples", day + 7 * HOUR_NS, "a")) == []
    waiting_ = plan.next_to_roll_up(late, day + 48 * HOUR_NS)
    assert waiting_ is None, "every hour of the day has a rollup by now"


@dataclass
class World:
    """Rows as numbers, in the places of a shard; a file's rows are stored under its key."""

    hot: dict[Key, set[int]] = field(default_factory=dict)
    rolling: dict[Key, set[int]] = field(default_factory=dict)
    bucket: dict[str, set[int]] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=lambda: Manifest(Head(0)))
    epoch: int = 1
    written: set[int] = field(default_factory=set)
    came: list[Key] = field(default_factory=list)
    unwanted: dict[Key, int] = field(default_factory=dict)

    def partitions(self) -> Partitions:
        hot, rolling = (tuple(of(*key) for key, rows in place.items() if rows) for place in (self.hot, self.rolling))
        return Partitions(hot, rolling)

    def insert(self, key: Key) -> None:
        row = len(self.came)
        self.came.append(key)
        self.written.add(row)
        self.hot.setdefault(key, set()).add(row)

    def erase(self, key: Key, *, dies: bool = False) -> None:
        """Remove every other row that came so far from each place, in the order in which rows move; with ``dies`` it stops before the last
        commit, and the next owner takes over.
        """

        def stays(row: int) -> bool:
            return row % 2 == 1 or row >= self.unwanted[key]

        self.unwanted.setdefault(key, len(self.came))
        for place in (self.hot, self.rolling):
            place[key] = set(filter(stays, place.get(key, ())))
        files = self.manifest.hour_files(*key)
        if files and self.manifest.open_hour(*key) is None:
            left = {row for file in files for row in self.bucket[file.key] if stays(row)}
            file = a_file(key[0], "t", key[1], self.manifest.revision + 1)
            assert file.key not in self.bucket, "no file is ever written twice"
            self.bucket[file.key] = left
            if dies:
                self.epoch += 1
                self.commit(m.taken(self.manifest, self.epoch))
            else:
                self.commit(m.rewritten(self.manifest, [m.Swap(tuple(files), file if left else None)], self.epoch, NOW))
        held = self.hot[key] | self.rolling[key] | {row for file in self.manifest.hour_files(*key) for row in self.bucket[file.key]}
        self.written = {row for row in self.written if self.came[row] != key or stays(row) or row in held}

    def zombie_moves(self, key: Key) -> set[Key]:
        """Move an hour as an owner that has lost its lease would; returns the hour if it had rows to move."""
        if not self.hot.get(key) or self.manifest.head.open or self.rolling.get(key):
            return set()
        self.rolling[key], self.hot[key] = self.hot[key], set()
        return {key}

    def seen(self) -> list[int] | None:
        """The rows that a reader sees, with repetitions; None while it waits."""
        if self.manifest.moving(ROLLED):
            return None
        named = {(one.table, one.hour_ns) for table in ROLLED for one in self.manifest.rolling(table)}
        rows = [row for rows in self.hot.values() for row in rows]
        rows += [row for key in named for row in self.rolling.get(key, ())]
        return rows + [row for table in ROLLED for file in self.manifest.files(table) for row in self.bucket[file.key]]

    def commit(self, change: Change) -> None:
        self.manifest = change.manifest

    def do(self, step: plan.Step, crash: int) -> None:
        """Carry out the step, stopping after ``crash`` of its actions."""
        for number, action in enumerate(self._actions(step)):
            if number == crash:
                return
            action()

    def _actions(self, step: plan.Step) -> list[Callable[[], None]]:
        if isinstance(step, plan.Begin | plan.Adopt):
            table, hour_ns = step.partition.table, step.partition.hour_ns
            begin = m.begin_move if isinstance(step, plan.Begin) else m.adopted
            return [lambda: self.commit(begin(self.manifest, table, hour_ns, self.epoch))]
        hour = step.hour
        key = (hour.table, hour.hour_ns)

        def say(transition: Callable[..., Change], *more: object) -> Callable[[], None]:
            return lambda: self.commit(transition(self.manifest, *key, *more, self.epoch))

        actions: dict[type[plan.Step], list[Callable[[], None]]] = {
            plan.Move: [lambda: self._copy(key), lambda: self._clear(key), say(m.moved)],
            plan.Untangle: [lambda: self._untangle(key)],
            plan.RecordMoved: [say(m.moved)],
            plan.RecordUnmoved: [say(m.unmoved)],
            plan.Export: [lambda: self._export(hour)],
            plan.Drop: [lambda: self.rolling.update({key: set()}), say(m.dropped)],
            plan.RecordDropped: [say(m.dropped)],
        }
        return actions[type(step)]

    def _copy(self, key: Key) -> None:
        self.rolling[key] = set(self.hot[key])

    def _clear(self, key: Key) -> None:
        self.hot[key] = self.hot[key] - self.rolling[key]

    def _untangle(self, key: Key) -> None:
        if self.rolling[key] <= self.hot[key]:
            self.rolling[key] = set()
        else:
            self.commit(m.moved(self.manifest, *key, self.epoch))

    def _export(self, hour: OpenHour) -> None:
        rows = self.rolling.get((hour.table, hour.hour_ns), set())
        file: ColdFile = a_file(hour.table, "t", hour.hour_ns, hour.generation)
        assert file.key not in self.bucket, "no file is ever written twice"
        self.bucket[file.key] = set(rows)
        self.commit(m.committed(self.manifest, hour.table, hour.hour_ns, [file] if rows else [], self.epoch, NOW))


events = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.sampled_from(["spans", "logs"]), st.integers(0, 2)),
        st.tuples(st.just("step"), st.just(""), st.integers(0, 4)),
        st.tuples(st.just("erase"), st.sampled_from(["spans", "logs"]), st.integers(0, 2)),
        st.tuples(st.just("zombie moves"), st.sampled_from(["spans", "logs"]), st.integers(0, 2)),
    ),
    max_size=40,
)


@given(events)
def test_each_row_is_in_one_place_whatever_dies(history: list[tuple[str, str, int]]) -> None:
    """Steps that end anywhere, rows that come late and that are deleted; at every moment a reader sees each row once, or waits.

    In the end all is cold, and what was to go is nowhere.
    """
    world = World()
    strays: set[Key] = set()
    for what, table, number in history:
        key = (table, HOUR + number * HOUR_NS)
        if what == "insert":
            world.insert(key)
        elif what == "erase":
            world.erase(key, dies=number == 0)
        elif what == "zombie moves":
            strays |= world.zombie_moves(key)
        else:
            step = next_step(world.manifest, world.partitions(), Policy(1 << 62, 0), NOW)
            if step is not None:
                world.do(step, crash=number)
            if number < 3:
                world.epoch += 1
                world.commit(m.taken(world.manifest, world.epoch))
        named = {(one.table, one.hour_ns) for one in world.manifest.head.open}
        strays = {key for key in strays - named if world.rolling.get(key)}
        _check(world, strays)
    while (step := next_step(world.manifest, world.partitions(), Policy(1 << 62, 0), NOW)) is not None:
        world.do(step, crash=99)
        _check(world, {key for key in strays if key in world.rolling and world.manifest.open_hour(*key) is None and world.rolling[key]})
    assert not any(world.hot.values())
    assert not any(world.rolling.values())
    for key in world.unwanted:
        world.erase(key)
    assert sorted(world.seen() or []) == sorted(world.written)
    assert not [row for row in world.written if row % 2 == 0 and row < world.unwanted.get(world.came[row], 0)]


def _check(world: World, strays: set[Key]) -> None:
    seen = world.seen()
    if seen is not None:
        hidden = [row for key in strays for row in world.rolling[key]]
        assert sorted(seen + hidden) == sorted(world.written)
