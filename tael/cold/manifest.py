"""The manifest of one shard at one moment, pure: which hours are on their way to the cold tier, and which files hold those that arrived.

It is a tree of immutable objects in the bucket under one small value, the head, which the key-value store keeps and which is changed by
compare-and-set alone: head → index (the page of each table's day) → pages (the files of a table's day). Whoever has a head and the bucket has
everything as it was at that head. Transitions give a new manifest and the objects that must be in the bucket before its head is written.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import orjson

from tael.cold.files import ROLLED, ColdFile, day_of, hour_of
from tael.errors import Damaged, Fenced, Rejected
from tael.model.time import ALL_TIME, DAY_NS, HOUR_NS, TimeRange

RECENT = 64
"""How many changes a head remembers: within that many, who holds an older head knows which hours changed since."""
State = Literal["moving", "rolling", "dropping"]
MOVING: State = "moving"
"""Its rows go from the hot table to the rolling one just now: nobody can say where they are."""
ROLLING: State = "rolling"
"""They are in the rolling table, to be read there, until their files are committed."""
DROPPING: State = "dropping"
"""Their files are committed and to be read; what is still in the rolling table is not."""


@dataclass(frozen=True, slots=True)
class OpenHour:
    """An hour of a table on its way. ``epoch`` is its owner's; ``generation`` is what its files will be named by, or are.

    A generation is the revision that gave it: no two files ever have one key, and of two generations the later is the larger.
    ``abandoned`` are generations that earlier owners may have written files of and that never will be committed.
    """

    table: str
    hour_ns: int
    generation: int
    state: State
    epoch: int
    abandoned: tuple[int, ...] = ()

    @property
    def partition_id(self) -> str:
        """ClickHouse's name of the hour's partition, in the hot table as in the rolling one."""
        return str(self.hour_ns // 1_000_000_000)


@dataclass(frozen=True, slots=True)
class Changed:
    """That an hour of a table was changed by a revision."""

    revision: int
    table: str
    hour_ns: int


@dataclass(frozen=True, slots=True)
class Trash:
    """An object that lists keys which nothing names since ``since_ns``: they are deleted once no reader can still have an older manifest."""

    since_ns: int
    key: str


@dataclass(frozen=True, slots=True)
class Held:
    """How much of a table is cold."""

    files: int = 0
    rows: int = 0
    bytes: int = 0

    def plus(self, new: Iterable[ColdFile], gone: Iterable[ColdFile]) -> Held:
        """With some files more, and others less."""
        added, removed = tuple(new), tuple(gone)
        return Held(
            self.files + len(added) - len(removed),
            self.rows + sum(file.rows for file in added) - sum(file.rows for file in removed),
            self.bytes + sum(file.bytes for file in added) - sum(file.bytes for file in removed),
        )


@dataclass(frozen=True, slots=True)
class Head:
    """What the key-value store keeps of a shard's manifest: a few hundred bytes, however many files there are.

    ``cold`` has, of each table that has files, the first and the last hour with some: a question about later hours needs nothing else.
    """

    shard: int
    revision: int = 0
    epoch: int = 0
    index: str = ""
    open: tuple[OpenHour, ...] = ()
    recent: tuple[Changed, ...] = ()
    cold: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    trash: tuple[Trash, ...] = ()
    held: Mapping[str, Held] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, key: str, value: bytes) -> Head:
        """Read what ``encode`` wrote. Raises Damaged."""
        try:
            found = orjson.loads(value)
            return cls(
                int(found["shard"]),
                int(found["revision"]),
                int(found["epoch"]),
                str(found["index"]),
                tuple(OpenHour(**{**one, "abandoned": tuple(one["abandoned"])}) for one in found["open"]),
                tuple(Changed(**one) for one in found["recent"]),
                {str(table): (int(first), int(last)) for table, (first, last) in found["cold"].items()},
                tuple(Trash(**one) for one in found["trash"]),
                {str(table): Held(**held) for table, held in found["held"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(key, f"this is no head of a manifest: {error}") from error

    def has_cold(self, table: str, time_range: TimeRange = ALL_TIME) -> bool:
        """Whether some file of the table may be in the range."""
        bounds = self.cold.get(table)
        return bounds is not None and bounds[0] < time_range.end_ns and bounds[1] + HOUR_NS > time_range.start_ns

    def open_hours(self, state: State, tables: Collection[str], time_range: TimeRange = ALL_TIME) -> tuple[OpenHour, ...]:
        """The hours of these tables that touch the range and are in that state."""
        return tuple(one for one in self.open if one.state == state and one.table in tables and _touches(one.hour_ns, time_range))

    def unchanged_since(self, before: Head, tables: Collection[str], time_range: TimeRange = ALL_TIME) -> bool:
        """Whether what ``before`` says of these tables and this range still holds; False too where nobody remembers."""
        if self.revision == before.revision:
            return self == before
        if self.revision < before.revision or (len(self.recent) >= RECENT and self.recent[0].revision > before.revision):
            return False
        return not any(one.revision > before.revision and one.table in tables and _touches(one.hour_ns, time_range) for one in self.recent)


Pages = Mapping[tuple[str, int], str]
"""The key of the page of a table's day."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A shard's manifest at one revision. ``pages`` hold the files of the days that were loaded; see ``missing_pages``."""

    head: Head
    index: Pages = field(default_factory=dict)
    pages: Mapping[tuple[str, int], tuple[ColdFile, ...]] = field(default_factory=dict)

    @property
    def shard(self) -> int:
        """The shard's number."""
        return self.head.shard

    @property
    def revision(self) -> int:
        """Grows with every change."""
        return self.head.revision

    def days(self, tables: Collection[str] | None = None, time_range: TimeRange = ALL_TIME) -> list[tuple[str, int]]:
        """Table and day of the pages that may hold files of the range, in order."""
        return sorted(
            (table, day)
            for table, day in self.index
            if (tables is None or table in tables) and day < time_range.end_ns and day + DAY_NS > time_range.start_ns
        )

    def missing_pages(self, tables: Collection[str] | None = None, time_range: TimeRange = ALL_TIME) -> dict[tuple[str, int], str]:
        """The keys of those that are not loaded."""
        return {day: self.index[day] for day in self.days(tables, time_range) if day not in self.pages}

    def files(self, table: str, tenant: str | None = None, time_range: TimeRange = ALL_TIME) -> list[ColdFile]:
        """The table's files with rows that may be in the range, of one tenant or of all, by hour and generation.

        Raises LookupError where a page of the range is not loaded.
        """
        found: list[ColdFile] = []
        for day in self.days((table,), time_range):
            found += (file for file in self.pages[day] if (tenant is None or file.tenant == tenant) and file.overlaps(time_range))
        return found

    def hour_files(self, table: str, hour_ns: int) -> list[ColdFile]:
        """Every file of an hour. Raises LookupError where its page is not loaded."""
        day = (table, day_of(hour_ns))
        return [file for file in self.pages[day] if file.hour_ns == hour_ns] if day in self.index else []

    def rolling(self, table: str, time_range: TimeRange = ALL_TIME) -> tuple[OpenHour, ...]:
        """The hours of the table to be read from ``<table>_rolling``: those alone, for it may hold others that are not to be read."""
        return self.head.open_hours(ROLLING, (table,), time_range)

    def moving(self, tables: Collection[str], time_range: TimeRange = ALL_TIME) -> tuple[OpenHour, ...]:
        """The hours whose rows are nowhere to be found for some milliseconds: wait for a later manifest."""
        return self.head.open_hours(MOVING, tables, time_range)

    def open_hour(self, table: str, hour_ns: int) -> OpenHour | None:
        """The hour, where it is on its way."""
        return next((one for one in self.head.open if (one.table, one.hour_ns) == (table, hour_ns)), None)


@dataclass(frozen=True, slots=True)
class Change:
    """A manifest after a transition, and the objects to be written before its head is, by key."""

    manifest: Manifest
    objects: Mapping[str, bytes] = field(default_factory=dict)


def taken(manifest: Manifest, epoch: int) -> Change:
    """The manifest under its next owner: every compare-and-set of the one before fails from here on.

    An hour that is rolling gets a new generation: the owner before may be writing its files still, and must not write over those that count.
    Raises Fenced where a later owner was there already.
    """
    _check_epoch(manifest, epoch)
    opened = tuple(
        replace(one, epoch=epoch, generation=manifest.revision + 1, abandoned=(*one.abandoned, one.generation))
        if one.state == ROLLING
        else replace(one, epoch=epoch)
        for one in manifest.head.open
    )
    return Change(replace(manifest, head=replace(manifest.head, revision=manifest.revision + 1, epoch=epoch, open=opened)))


def restored(head: Head) -> Head:
    """A copy of a head in a key-value store that has lost all: its leases count epochs from the beginning, so this one is nobody's."""
    return replace(head, revision=head.revision + 1, epoch=0, open=tuple(replace(one, epoch=0) for one in head.open))


def begin_move(manifest: Manifest, table: str, hour_ns: int, epoch: int) -> Change:
    """The hour's rows are about to be moved to the rolling table. Raises Rejected where they are on their way already."""
    if table not in ROLLED or hour_ns != hour_of(hour_ns):
        raise Rejected(f"{table} has no hour {hour_ns}", where="table", accepted=", ".join(ROLLED))
    if (found := manifest.open_hour(table, hour_ns)) is not None:
        raise Rejected(f"the hour {hour_ns} of {table} is {found.state}", where="hour", accepted="an hour that is not on its way")
    return _opened(manifest, OpenHour(table, hour_ns, manifest.revision + 1, MOVING, epoch), epoch)


def moved(manifest: Manifest, table: str, hour_ns: int, epoch: int) -> Change:
    """All of them are in the rolling table."""
    return _opened(manifest, replace(_require(manifest, table, hour_ns, MOVING), state=ROLLING), epoch)


def adopted(manifest: Manifest, table: str, hour_ns: int, epoch: int) -> Change:
    """Rows of an hour that is not on its way were found in the rolling table: an owner that had lost its lease moved them."""
    change = begin_move(manifest, table, hour_ns, epoch)
    return Change(moved(change.manifest, table, hour_ns, epoch).manifest, change.objects)


def committed(manifest: Manifest, table: str, hour_ns: int, files: Iterable[ColdFile], epoch: int, now_ns: int) -> Change:
    """The files hold what the rolling table has of the hour. Raises Rejected for files that do not belong to it."""
    found = _require(manifest, table, hour_ns, ROLLING)
    new = tuple(files)
    for file in new:
        if (file.table, file.hour_ns, file.generation, file.shard) != (table, hour_ns, found.generation, manifest.shard):
            raise Rejected(f"{file.key} is no file of generation {found.generation} of {table} at {hour_ns}", where="files")
    _require_distinct(new)
    kept = manifest.pages.get((table, day_of(hour_ns)), ())
    trash = [replace(file, generation=generation).key for generation in found.abandoned for file in new]
    change = _opened(manifest, replace(found, state=DROPPING, abandoned=()), epoch)
    return _paged(manifest, change.manifest.head, {(table, day_of(hour_ns)): (*kept, *new)}, trash, now_ns)


def dropped(manifest: Manifest, table: str, hour_ns: int, epoch: int) -> Change:
    """The rolling table holds nothing more of the hour."""
    return _opened(manifest, _require(manifest, table, hour_ns, DROPPING), epoch, close=True)


def unmoved(manifest: Manifest, table: str, hour_ns: int, epoch: int) -> Change:
    """Nothing was moved after all: neither table has rows of the hour, as when retention took them."""
    return _opened(manifest, _require(manifest, table, hour_ns, MOVING), epoch, close=True)


def merged(
    manifest: Manifest,
    table: str,
    hour_ns: int,
    files: Iterable[ColdFile],
    epoch: int,
    now_ns: int,
    *,
    emptied: Collection[str] = (),
    unnamed: Iterable[str] = (),
) -> Change:
    """One file a tenant in the place of several: ``files``, of the generation that the next revision gives, hold all that is wanted of those.

    Of the tenants in ``emptied`` nothing is, and their files go. ``unnamed`` are keys that nothing ever named, to be deleted as well.
    Rollups stay as they are: rows that came behind one stay beside it.
    """
    _check_epoch(manifest, epoch)
    new = tuple(files)
    before = [file for file in manifest.hour_files(table, hour_ns) if not file.resolution]
    _require_distinct(new)
    if not new and not emptied:
        raise Rejected("no file can stand for others", where="files")
    for file in new:
        known = any(old.tenant == file.tenant for old in before)
        if (file.table, file.hour_ns, file.shard, file.generation) != (table, hour_ns, manifest.shard, manifest.revision + 1) or not known:
            raise Rejected(f"{file.key} cannot stand for the files of {table} at {hour_ns}", where="files")
    tenants = {file.tenant for file in new} | set(emptied)
    gone = [file for file in before if file.tenant in tenants]
    day = (table, day_of(hour_ns))
    kept = tuple(file for file in manifest.pages[day] if file not in set(gone))
    head = _next(manifest.head, epoch, [(table, hour_ns)])
    return _paged(manifest, head, {day: (*kept, *new)}, [*(file.key for file in gone), *unnamed], now_ns)


def rolled_up(manifest: Manifest, raw: ColdFile, rollup: ColdFile, epoch: int, now_ns: int) -> Change:
    """``rollup``, of the generation that the next revision gives, in the place of the only file of its tenant and hour."""
    _check_epoch(manifest, epoch)
    wanted = replace(rollup, tenant=raw.tenant, shard=manifest.shard, hour_ns=raw.hour_ns, generation=manifest.revision + 1)
    beside = [file for file in manifest.hour_files(raw.table, raw.hour_ns) if file.tenant == raw.tenant]
    if rollup != wanted or raw.resolution or not rollup.resolution or beside != [raw]:
        raise Rejected(f"{rollup.key} cannot stand for {raw.key}", where="files")
    day = (raw.table, day_of(raw.hour_ns))
    kept = tuple(file for file in manifest.pages[day] if file != raw)
    head = _next(manifest.head, epoch, [(raw.table, raw.hour_ns)])
    return _paged(manifest, head, {day: (*kept, rollup)}, [raw.key], now_ns)


def retired(manifest: Manifest, gone: Callable[[ColdFile], bool], epoch: int, now_ns: int) -> Change | None:
    """Without the files that ``gone`` says yes to, among the loaded pages; None where there are none."""
    _check_epoch(manifest, epoch)
    pages: dict[tuple[str, int], tuple[ColdFile, ...]] = {}
    removed: list[ColdFile] = []
    for day, files in manifest.pages.items():
        out = [file for file in files if gone(file)]
        if out:
            removed += out
            pages[day] = tuple(file for file in files if file not in set(out))
    if not removed:
        return None
    head = _next(manifest.head, epoch, sorted({(file.table, file.hour_ns) for file in removed}))
    return _paged(manifest, head, pages, [file.key for file in removed], now_ns)


def swept(manifest: Manifest, trash: Trash, epoch: int) -> Change:
    """The keys that ``trash`` lists, and its object, are deleted."""
    _check_epoch(manifest, epoch)
    kept = tuple(one for one in manifest.head.trash if one != trash)
    return Change(replace(manifest, head=replace(_next(manifest.head, epoch, []), trash=kept)))


def _opened(manifest: Manifest, hour: OpenHour, epoch: int, *, close: bool = False) -> Change:
    _check_epoch(manifest, epoch)
    others = tuple(one for one in manifest.head.open if (one.table, one.hour_ns) != (hour.table, hour.hour_ns))
    head = _next(manifest.head, epoch, [(hour.table, hour.hour_ns)])
    return Change(replace(manifest, head=replace(head, open=others if close else (*others, hour))))


def _next(head: Head, epoch: int, changed: Iterable[tuple[str, int]]) -> Head:
    revision = head.revision + 1
    news = tuple(Changed(revision, table, hour_ns) for table, hour_ns in changed)
    return replace(head, revision=revision, epoch=epoch, recent=(*head.recent, *news)[-RECENT:])


def _paged(
    manifest: Manifest, head: Head, pages: Mapping[tuple[str, int], tuple[ColdFile, ...]], trash: Iterable[str], now_ns: int
) -> Change:
    """The manifest with these pages in place of those of the same days; empty ones go."""
    if (manifest.head.index and not manifest.index) or manifest.index.keys() & pages.keys() - manifest.pages.keys():
        raise LookupError(f"the pages of {sorted(pages)} are not loaded")  # what is not known must not be written over
    objects: dict[str, bytes] = {}
    index = dict(manifest.index)
    unused = [*trash, *(index[day] for day in pages if day in index), *([head.index] if head.index else [])]
    held = dict(head.held)
    for (table, day), files in pages.items():
        held[table] = held.get(table, Held()).plus(files, manifest.pages.get((table, day), ()))
        index.pop((table, day), None)
        if files:
            body = encode_page(sorted(files, key=lambda file: (file.hour_ns, file.generation, file.tenant)))
            index[table, day] = _key(head, "pages", body)
            objects[index[table, day]] = body
    body = encode_index(index)
    key = _key(head, "index", body) if index else ""
    held = {table: one for table, one in held.items() if one.files}
    head = replace(head, index=key, cold=_bounds(index, {**manifest.pages, **pages}, head.cold), held=held)
    if key:
        objects[key] = body
    unused = sorted(set(unused) - objects.keys() - set(index.values()))
    if unused:
        body = gzip.compress(orjson.dumps(unused), mtime=0)
        key = _key(head, "trash", body)
        objects[key] = body
        head = replace(head, trash=(*head.trash, Trash(now_ns, key)))
    loaded = {day: tuple(files) for day, files in {**manifest.pages, **pages}.items() if files}
    return Change(Manifest(head, index, loaded), objects)


def _bounds(
    index: Pages, pages: Mapping[tuple[str, int], tuple[ColdFile, ...]], before: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    """First and last hour of each table's files; a day whose page is not loaded counts whole, within what was known."""
    found: dict[str, tuple[int, int]] = {}
    for table in {table for table, _ in index}:
        days = sorted(day for name, day in index if name == table)
        known = before.get(table, (days[0], days[-1] + DAY_NS - HOUR_NS))
        first, last = pages.get((table, days[0])), pages.get((table, days[-1]))
        found[table] = (
            min(file.hour_ns for file in first) if first else max(days[0], known[0]),
            max(file.hour_ns for file in last) if last else min(days[-1] + DAY_NS - HOUR_NS, max(known[1], days[-1])),
        )
    return found


def encode_page(files: Iterable[ColdFile]) -> bytes:
    """The files of a table's day: gzip of a JSON array with an object a file."""
    # A resolution is named where there is one, so that versions without rollups can read the pages that have none.
    listed = [{name: value for name, value in asdict(file).items() if name != "resolution" or value} for file in files]
    return gzip.compress(orjson.dumps(listed), compresslevel=5, mtime=0)


def decode_page(key: str, body: bytes) -> tuple[ColdFile, ...]:
    """Read what ``encode_page`` wrote. Raises Damaged."""
    try:
        return tuple(ColdFile(**one) for one in _json(body))
    except (TypeError, ValueError, OSError, EOFError) as error:
        raise Damaged(key, f"this is no page of a manifest: {error}") from error


def encode_index(index: Pages) -> bytes:
    """Gzip of a JSON object: table → day → key."""
    nested: dict[str, dict[str, str]] = {}
    for (table, day), key in sorted(index.items()):
        nested.setdefault(table, {})[str(day)] = key
    return gzip.compress(orjson.dumps(nested), compresslevel=5, mtime=0)


def decode_index(key: str, body: bytes) -> dict[tuple[str, int], str]:
    """Read what ``encode_index`` wrote. Raises Damaged."""
    try:
        return {(table, int(day)): str(page) for table, days in _json(body).items() for day, page in days.items()}
    except (TypeError, ValueError, AttributeError, OSError, EOFError) as error:
        raise Damaged(key, f"this is no index of a manifest: {error}") from error


def decode_trash(key: str, body: bytes) -> list[str]:
    """The keys that an object of unused keys lists. Raises Damaged."""
    try:
        return [str(one) for one in _json(body)]
    except (TypeError, ValueError, OSError, EOFError) as error:
        raise Damaged(key, f"this lists no keys: {error}") from error


def head_key(shard: int, revision: int) -> str:
    """Where the copy of a head is in the bucket; later revisions sort behind earlier ones."""
    return f"{manifest_prefix(shard)}heads/{revision:012d}.json"


def manifest_prefix(shard: int) -> str:
    """What the keys of a shard's manifest begin with."""
    return f"_manifest/{shard}/"


def _key(head: Head, kind: str, body: bytes) -> str:
    # By its revision, so that a key never comes back once it is to be deleted; by its content, so that two owners never write one key differently.
    return f"{manifest_prefix(head.shard)}{kind}/{head.revision:012d}-{hashlib.sha256(body).hexdigest()[:16]}.json.gz"


def _json(body: bytes) -> Any:
    return orjson.loads(gzip.decompress(body))


def _touches(hour_ns: int, time_range: TimeRange) -> bool:
    return hour_ns < time_range.end_ns and hour_ns + HOUR_NS > time_range.start_ns


def _check_epoch(manifest: Manifest, epoch: int) -> None:
    if manifest.head.epoch > epoch:
        raise Fenced(f"the manifest of shard {manifest.shard} is under epoch {manifest.head.epoch}, later than {epoch}")


def _require(manifest: Manifest, table: str, hour_ns: int, state: State) -> OpenHour:
    found = manifest.open_hour(table, hour_ns)
    if found is None or found.state != state:
        raise Rejected(f"the hour {hour_ns} of {table} is {found.state if found else 'not on its way'}", where="hour", accepted=state)
    return found


def _require_distinct(files: tuple[ColdFile, ...]) -> None:
    if len({file.key for file in files}) != len(files):
        raise Rejected("two files have one key", where="files")
