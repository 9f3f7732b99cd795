"""How a manifest changes, pure: each transition returns the next revision and the objects that must be in the bucket before its head is
written.

Every transition checks the owner's epoch and raises Fenced if a later owner has changed the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from tael.cold.files import DAY_HOURS, ROLLED, ColdFile, day_of, hour_of
from tael.cold.manifest import DROPPING, MOVING, RECENT, ROLLING, Changed, Head, Held, Manifest, OpenHour, State, Trash
from tael.cold.pages import Pages, encode_index, encode_page, encode_trash, object_key
from tael.errors import Fenced, Rejected
from tael.model.time import DAY_NS, HOUR_NS

_PLACE = ("table", "tenant", "shard", "hour_ns", "hours", "resolution")


@dataclass(frozen=True, slots=True)
class Change:
    """A manifest after a transition, and the objects, by key, to write before its head."""

    manifest: Manifest
    objects: Mapping[str, bytes] = field(default_factory=dict)


def taken(manifest: Manifest, epoch: int) -> Change:
    """The manifest under its next owner. Once it is committed, every compare-and-set of the previous owner fails.

    An hour that is rolling gets a new generation: the previous owner may still be writing files, and must not overwrite those that will be
    committed. Raises Fenced if a later owner has been there already.
    """
    _check_epoch(manifest, epoch)
    # An hour that is moving has no files yet, and one that is dropping has its files committed: both keep their generation.
    opened = tuple(
        replace(one, epoch=epoch, generation=manifest.revision + 1, abandoned=(*one.abandoned, one.generation))
        if one.state == ROLLING
        else replace(one, epoch=epoch)
        for one in manifest.head.open
    )
    # Readers find every row where it was, so no hour is recorded as changed.
    return Change(replace(manifest, head=replace(manifest.head, revision=manifest.revision + 1, epoch=epoch, open=opened)))


def restored(head: Head) -> Head:
    """The head to write, from a copy, into a key-value store that has lost everything. Its epochs are 0, because the store's leases count
    from the beginning again.
    """
    return replace(head, revision=head.revision + 1, epoch=0, open=tuple(replace(one, epoch=0) for one in head.open))


def begin_move(manifest: Manifest, table: str, hour_ns: int, epoch: int) -> Change:
    """The hour's rows are about to be moved to the rolling table. Raises Rejected if the hour is on its way already."""
    if table not in ROLLED or hour_ns != hour_of(hour_ns):
        raise Rejected(f"{table} has no hour {hour_ns}", where="table", accepted=", ".join(ROLLED))
    _require_at_rest(manifest, table, hour_ns)
    return _opened(manifest, OpenHour(table, hour_ns, manifest.revision + 1, MOVING, epoch), epoch)


def moved(manifest: Manifest, table: str, hour_ns: int, epoch: int) -> Change:
    """All rows of the hour are in the rolling table."""
    return _opened(manifest, replace(_require(manifest, table, hour_ns, MOVING), state=ROLLING), epoch)


def adopted(manifest: Manifest, table: str, hour_ns: int, epoch: int) -> Change:
    """Rows of an hour that is not on its way were found in the rolling table, where an owner that had lost its lease moved them."""
    change = begin_move(manifest, table, hour_ns, epoch)
    return Change(moved(change.manifest, table, hour_ns, epoch).manifest, change.objects)


def committed(manifest: Manifest, table: str, hour_ns: int, files: Iterable[ColdFile], epoch: int, now_ns: int) -> Change:
    """The files hold all rows that the rolling table has of the hour. Raises Rejected for files that do not belong to it."""
    found = _require(manifest, table, hour_ns, ROLLING)
    new = tuple(files)
    for file in new:
        if (file.table, file.hour_ns, file.generation, file.shard) != (table, hour_ns, found.generation, manifest.shard):
            raise Rejected(f"{file.key} is not a file of generation {found.generation} of {table} at {hour_ns}", where="files")
    _require_distinct(new)
    # Empty for a day without files; for a page that is not loaded ``_paged`` raises.
    kept = manifest.pages.get((table, day_of(hour_ns)), ())
    # Earlier owners may have written any of these files or none; deleting a key that does not exist is not an error.
    trash = [key for generation in found.abandoned for file in new for key in replace(file, generation=generation).keys]
    change = _opened(manifest, replace(found, state=DROPPING, abandoned=()), epoch)
    return _paged(manifest, change.manifest.head, {(table, day_of(hour_ns)): (*kept, *new)}, trash, now_ns)


def dropped(manifest: Manifest, table: str, hour_ns: int, epoch: int) -> Change:
    """The rolling table has no rows of the hour any more: the hour is done."""
    return _opened(manifest, _require(manifest, table, hour_ns, DROPPING), epoch, close=True)


def unmoved(manifest: Manifest, table: str, hour_ns: int, epoch: int) -> Change:
    """The hour is not moving after all: its rows are in the hot table, or gone from both tables, for instance by retention."""
    return _opened(manifest, _require(manifest, table, hour_ns, MOVING), epoch, close=True)


def merged(manifest: Manifest, table: str, hour_ns: int, files: Iterable[ColdFile], epoch: int, now_ns: int) -> Change:
    """For each tenant one file in the place of several: ``files``, whose generation is the next revision, hold all rows that count of
    those.

    Rollups and days stay as they are, and so do late rows beside them. Raises Rejected for an hour on its way, which is about to get more
    files.
    """
    _check_epoch(manifest, epoch)
    _require_at_rest(manifest, table, hour_ns)
    new = tuple(files)
    before = [file for file in manifest.hour_files(table, hour_ns) if not file.settled]
    _require_distinct(new)
    if not new:
        raise Rejected("there is no merged file", where="files")
    for file in new:
        known = any(old.tenant == file.tenant for old in before)
        if (file.table, file.hour_ns, file.shard, file.generation) != (table, hour_ns, manifest.shard, manifest.revision + 1) or not known:
            raise Rejected(f"{file.key} cannot stand for the files of {table} at {hour_ns}", where="files")
    tenants = {file.tenant for file in new}
    gone = [file for file in before if file.tenant in tenants]
    day = (table, day_of(hour_ns))
    kept = tuple(file for file in manifest.pages[day] if file not in set(gone))
    head = _next(manifest.head, epoch, [(table, hour_ns)])
    return _paged(manifest, head, {day: (*kept, *new)}, _keys(gone), now_ns)


def rolled_up(manifest: Manifest, raw: ColdFile, rollup: ColdFile, epoch: int, now_ns: int) -> Change:
    """``rollup``, whose generation is the next revision, in the place of the only file of its tenant and hour.

    Raises Rejected for an hour on its way, as ``merged`` does.
    """
    _check_epoch(manifest, epoch)
    _require_at_rest(manifest, raw.table, raw.hour_ns)
    wanted = replace(rollup, tenant=raw.tenant, shard=manifest.shard, hour_ns=raw.hour_ns, generation=manifest.revision + 1)
    beside = [file for file in manifest.hour_files(raw.table, raw.hour_ns) if file.tenant == raw.tenant]
    if rollup != wanted or raw.settled or not rollup.resolution or beside != [raw]:
        raise Rejected(f"{rollup.key} cannot stand for {raw.key}", where="files")
    day = (raw.table, day_of(raw.hour_ns))
    kept = tuple(file for file in manifest.pages[day] if file != raw)
    head = _next(manifest.head, epoch, [(raw.table, raw.hour_ns)])
    return _paged(manifest, head, {day: (*kept, rollup)}, [raw.key], now_ns)


def gathered(manifest: Manifest, several: Collection[ColdFile], whole: ColdFile, epoch: int, now_ns: int) -> Change:
    """``whole``, whose generation is the next revision, in the place of several files of a tenant's day.

    Raises Rejected if an hour of the day is on its way.
    """
    _check_epoch(manifest, epoch)
    table, day = whole.table, day_of(whole.hour_ns)
    for hour_ns in whole.each_hour:
        _require_at_rest(manifest, table, hour_ns)
    wanted = replace(whole, shard=manifest.shard, hour_ns=day, hours=DAY_HOURS, generation=manifest.revision + 1)
    known = set(manifest.pages[table, day])
    alike = {(file.tenant, file.resolution) for file in several} == {(whole.tenant, whole.resolution)}
    if whole != wanted or len(several) < 2 or not alike or not known.issuperset(several):
        raise Rejected(f"{whole.key} cannot stand for {len(several)} files", where="files")
    kept = tuple(file for file in manifest.pages[table, day] if file not in set(several))
    head = _next(
        manifest.head, epoch, [(table, hour_ns) for hour_ns in sorted({hour_ns for file in several for hour_ns in file.each_hour})]
    )
    return _paged(manifest, head, {(table, day): (*kept, whole)}, _keys(several), now_ns)


@dataclass(frozen=True, slots=True)
class Swap:
    """``left`` in the place of ``gone``: the unsettled files of a tenant's hour, or one settled file. ``left`` is None when no
    row remains.
    """

    gone: tuple[ColdFile, ...]
    left: ColdFile | None


def rewritten(manifest: Manifest, swaps: Collection[Swap], epoch: int, now_ns: int, *, unnamed: Iterable[str] = ()) -> Change:
    """All swaps at once; the generation of each new file is the next revision.

    ``unnamed`` are keys that no manifest ever named, to be deleted as well. Raises Rejected if an hour of any file is on its way and has to
    arrive first.
    """
    _check_epoch(manifest, epoch)
    hours = sorted({(file.table, hour_ns) for swap in swaps for file in swap.gone for hour_ns in file.each_hour})
    for table, hour_ns in hours:
        if manifest.must_rest(table, hour_ns):
            _require_at_rest(manifest, table, hour_ns)
    pages: dict[tuple[str, int], tuple[ColdFile, ...]] = {}
    for swap in swaps:
        first, gone = swap.gone[0], set(swap.gone)
        day = (first.table, day_of(first.hour_ns))
        before = pages.get(day, manifest.pages[day])
        places = {tuple(getattr(file, name) for name in _PLACE) for file in (*swap.gone, *([swap.left] if swap.left else []))}
        generation = swap.left.generation if swap.left else manifest.revision + 1
        if len(places) != 1 or generation != manifest.revision + 1 or not gone.issubset(before):
            raise Rejected(f"{swap.left.key if swap.left else 'nothing'} cannot stand for {first.key}", where="files")
        pages[day] = (*(file for file in before if file not in gone), *([swap.left] if swap.left else []))
    trash = _keys(file for swap in swaps for file in swap.gone)
    return _paged(manifest, _next(manifest.head, epoch, hours), pages, [*trash, *unnamed], now_ns)


def retired(manifest: Manifest, gone: Callable[[ColdFile], bool], epoch: int, now_ns: int, *, unnamed: Iterable[str] = ()) -> Change | None:
    """The manifest without those files of the loaded pages for which ``gone`` is true; None when there are none. ``unnamed`` as in
    ``rewritten``.
    """
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
    head = _next(manifest.head, epoch, sorted({(file.table, hour_ns) for file in removed for hour_ns in file.each_hour}))
    return _paged(manifest, head, pages, [*_keys(removed), *unnamed], now_ns)


def swept(manifest: Manifest, trash: Trash, epoch: int) -> Change:
    """The keys that ``trash`` lists, and the list itself, are deleted."""
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
    """The manifest with these pages in the place of those of the same days, each sorted by hour, generation and tenant; empty pages are
    removed.
    """
    pages = {day: tuple(sorted(files, key=lambda file: (file.hour_ns, file.generation, file.tenant))) for day, files in pages.items()}
    if (manifest.head.index and not manifest.index) or manifest.index.keys() & pages.keys() - manifest.pages.keys():
        raise LookupError(f"the pages of {sorted(pages)} are not loaded")  # their files would be lost
    objects: dict[str, bytes] = {}
    index = dict(manifest.index)
    # Readers of the previous head still follow its index to these pages, so they are put into the trash and deleted after the grace period.
    unused = [*trash, *(index[day] for day in pages if day in index), *([head.index] if head.index else [])]
    held = dict(head.held)
    for (table, day), files in pages.items():
        held[table] = held.get(table, Held()).plus(files, manifest.pages.get((table, day), ()))
        index.pop((table, day), None)
        if files:
            body = encode_page(files)
            index[table, day] = object_key(head.shard, head.revision, "pages", body)
            objects[index[table, day]] = body
    body = encode_index(index)
    key = object_key(head.shard, head.revision, "index", body) if index else ""
    held = {table: one for table, one in held.items() if one.files}
    head = replace(head, index=key, cold=_bounds(index, {**manifest.pages, **pages}, head.cold), held=held)
    if key:
        objects[key] = body
    unused = sorted(set(unused) - objects.keys() - set(index.values()))
    if unused:
        body = encode_trash(unused)
        key = object_key(head.shard, head.revision, "trash", body)
        objects[key] = body
        head = replace(head, trash=(*head.trash, Trash(now_ns, key)))
    loaded = {day: files for day, files in {**manifest.pages, **pages}.items() if files}
    return Change(Manifest(head, index, loaded), objects)


def _bounds(
    index: Pages, pages: Mapping[tuple[str, int], tuple[ColdFile, ...]], before: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    """The first and last hour of each table's files. A day whose page is not loaded is assumed to be full, within the bounds
    known before.
    """
    found: dict[str, tuple[int, int]] = {}
    for table in {table for table, _ in index}:
        days = sorted(day for name, day in index if name == table)
        known = before.get(table, (days[0], days[-1] + DAY_NS - HOUR_NS))
        first, last = pages.get((table, days[0])), pages.get((table, days[-1]))
        found[table] = (
            min(file.hour_ns for file in first) if first else max(days[0], known[0]),
            max(file.end_ns for file in last) - HOUR_NS if last else min(days[-1] + DAY_NS - HOUR_NS, max(known[1], days[-1])),
        )
    return found


def _check_epoch(manifest: Manifest, epoch: int) -> None:
    if manifest.head.epoch > epoch:
        raise Fenced(f"the manifest of shard {manifest.shard} is under epoch {manifest.head.epoch}, later than {epoch}")


def _require(manifest: Manifest, table: str, hour_ns: int, state: State) -> OpenHour:
    found = manifest.open_hour(table, hour_ns)
    if found is None or found.state != state:
        raise Rejected(f"the hour {hour_ns} of {table} is {found.state if found else 'not on its way'}", where="hour", accepted=state)
    return found


def _require_at_rest(manifest: Manifest, table: str, hour_ns: int) -> None:
    # The generation of an hour on its way is already fixed: a file written now would have a later one than those still to come.
    if (found := manifest.open_hour(table, hour_ns)) is not None:
        raise Rejected(f"the hour {hour_ns} of {table} is {found.state}", where="hour", accepted="an hour that is not on its way")


def _keys(files: Iterable[ColdFile]) -> list[str]:
    return [key for file in files for key in file.keys]


def _require_distinct(files: tuple[ColdFile, ...]) -> None:
    if len({file.key for file in files}) != len(files):
        raise Rejected("two files have the same key", where="files")
