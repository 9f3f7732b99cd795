"""The cold tier's manifest under any history: its tree stays whole, and tenants' keys apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tael.cold import transitions as m
from tael.cold.files import ROLLED, day_of, file_key
from tael.cold.manifest import MOVING, ROLLING, Head, Held, Manifest
from tael.cold.pages import decode_index, decode_page, decode_trash
from tael.cold.transitions import Change
from tael.errors import Rejected
from tael.model.tenant import TENANT_PATTERN
from tael.model.time import HOUR_NS
from tests.support.cold_files import HOUR, NOW, a_file


@given(st.from_regex(TENANT_PATTERN, fullmatch=True), st.from_regex(TENANT_PATTERN, fullmatch=True))
def test_tenants_never_share_a_key(one: str, other: str) -> None:
    """And no key contains a pattern or a path that leads upwards."""
    keys = [file_key("spans", tenant, 0, HOUR, 1) for tenant in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
    assert not any(character in keys[0] for character in "*?{}'()%@\\ ")
    assert ".." not in keys[0]
    assert keys[0].endswith("/date=2024-10-04/hour=00/0-1.parquet")


histories = st.lists(
    st.tuples(st.sampled_from(["go", "go", "go", "crash", "merge", "retire"]), st.sampled_from(["spans", "logs"]), st.integers(0, 30))
)


@given(histories)
@settings(max_examples=50)
def test_any_history_keeps_the_tree_whole(history: list[tuple[str, str, int]]) -> None:
    """For any sequence of transitions: the objects hold the manifest, no key is named twice, and no named key is in the trash."""
    bucket: dict[str, bytes] = {}
    manifest, epoch = Manifest(Head(0)), 1
    for what, table, number in history:
        hour = HOUR + number * HOUR_NS
        change = _step(manifest, what, table, hour, epoch)
        if what == "crash":
            epoch += 1
        if change is None:
            continue
        assert change.manifest.revision > manifest.revision
        assert not change.objects.keys() & bucket.keys()
        bucket.update(change.objects)
        manifest = change.manifest
        _check(manifest, bucket)


def _step(manifest: Manifest, what: str, table: str, hour: int, epoch: int) -> Change | None:
    if what == "crash":
        return m.taken(manifest, epoch + 1)
    if what == "retire":
        return m.retired(manifest, lambda file: file.hour_ns <= hour, epoch, NOW)
    if what == "merge":
        return _merge(manifest, table, hour, epoch)
    found = manifest.open_hour(table, hour)
    if found is None:
        return m.begin_move(manifest, table, hour, epoch)
    if found.state == ROLLING:
        return m.committed(manifest, table, hour, [a_file(table, "t", hour, found.generation)], epoch, NOW)
    return (m.moved if found.state == MOVING else m.dropped)(manifest, table, hour, epoch)


def _merge(manifest: Manifest, table: str, hour: int, epoch: int) -> Change | None:
    files = manifest.hour_files(table, hour)
    if not files:
        return None
    try:
        change = m.merged(manifest, table, hour, [replace(files[0], generation=manifest.revision + 1)], epoch, NOW)
    except Rejected:
        assert manifest.open_hour(table, hour) is not None
        return None
    assert manifest.open_hour(table, hour) is None
    return change


def _check(manifest: Manifest, bucket: Mapping[str, bytes]) -> None:
    index = decode_index("", bucket[manifest.head.index]) if manifest.head.index else {}
    pages = {day: decode_page(key, bucket[key]) for day, key in index.items()}
    assert (index, pages) == (manifest.index, manifest.pages)
    files = [file for page in pages.values() for file in page]
    named = [file.key for file in files] + list(index.values()) + [manifest.head.index]
    assert len(set(named)) == len(named)
    unused = [key for trash in manifest.head.trash for key in decode_trash("", bucket[trash.key])]
    assert not set(unused) & {file.key for file in files}
    for (table, day), page in pages.items():
        assert all((file.table, day_of(file.hour_ns)) == (table, day) for file in page)
    for table in ROLLED:
        hours = [file.hour_ns for file in files if file.table == table]
        held = [file for file in files if file.table == table]
        assert manifest.head.held.get(table, Held()) == Held().plus(held, [])
        assert manifest.head.cold.get(table) == ((min(hours), max(hours)) if hours else None)
