"""A record that comes again within two minutes of the WAL's clock is left out by every writer, and nothing else is."""

from __future__ import annotations

import pytest

from services.ingest.writer.resends import Resends, saved_entries
from tael.model.signals import LOGS, TRACES
from tael.pb.wal_pb2 import WrittenDigests
from tael.wal import codec
from tael.wal.api import Entry

SECOND = 10**9


def entry(sequence: int, *names: str, at: float = 0.0, signal: str = TRACES) -> Entry:
    """An entry with a record of two items for each name; ``-`` is a record without a digest."""
    records = [
        codec.encode(f"tenant-{name}", 1, name.encode(), digest=b"" if name == "-" else name.encode().ljust(codec.DIGEST_BYTES), items=2)
        for name in names
    ]
    return Entry(sequence, signal, 2 * len(names), b"".join(records), round((1000 + at) * SECOND))


def names_in(entries: list[Entry]) -> list[list[str]]:
    return [[record.request.decode() for record in codec.decode(each.body)] for each in entries]


def fresh(resends: Resends, *entries: Entry) -> list[list[str]]:
    return names_in(list(resends.fresh(entries).entries))


def test_resends_are_dropped_and_counted() -> None:
    """Within an entry, in another entry of the batch and in a later batch; entries without remaining records are dropped."""
    resends = Resends(100)
    found = resends.fresh([entry(1, "a", "b", "a"), entry(2, "b"), entry(3, "c", signal=LOGS)])
    assert names_in(list(found.entries)) == [["a", "b"], ["c"]]
    assert [each.items for each in found.entries] == [4, 2]
    assert found.dropped == {TRACES: 2}
    again = resends.fresh([entry(4, "c", "d", "a", signal=LOGS)])
    assert names_in(list(again.entries)) == [["d"]]
    assert again.dropped == {LOGS: 2}


def test_an_entry_of_which_nothing_is_left_out_is_the_same_object() -> None:
    """Its bytes are not copied."""
    whole = entry(1, "a", "b")
    assert Resends(100).fresh([whole]).entries[0] is whole


def test_records_without_a_digest_are_never_left_out() -> None:
    """Older releases wrote such records."""
    assert fresh(Resends(100), entry(1, "-", "-"), entry(2, "-")) == [["-", "-"], ["-"]]


@pytest.mark.parametrize(("seconds", "known"), [(1, True), (119.9, True), (120, True), (120.1, False), (3600, False)])
def test_the_window_is_two_minutes_of_the_wal(seconds: float, known: bool) -> None:
    """By the times that the server gave the entries, so that every reader decides alike."""
    resends = Resends(100)
    fresh(resends, entry(1, "a"))
    assert fresh(resends, entry(2, "a", at=seconds)) == ([] if known else [["a"]])


def test_memory_is_bounded() -> None:
    """Beyond a number of digests, those of the oldest entries are forgotten."""
    resends = Resends(3)
    fresh(resends, entry(1, "a"), entry(2, "b"), entry(3, "c"), entry(4, "d"))
    assert fresh(resends, entry(5, "b", "c", "d")) == []
    assert fresh(resends, entry(6, "a")) == [["a"]]


def test_a_successor_decides_alike_from_what_was_saved_and_what_is_left_of_the_wal() -> None:
    """The digests of trimmed entries come from messages, those of others from the entries themselves; each is saved once."""
    first = [entry(number, f"n{number}", f"m{number}", at=number) for number in range(1, 7)]
    before = Resends(100)
    before.fresh(first[:3])
    message = before.unsaved(7, 3)
    assert message is not None
    before.saved(message)
    before.fresh(first[3:])
    later = before.unsaved(7, 5)
    assert later is not None
    assert [len(held.digests) // codec.DIGEST_BYTES for held in later.entries] == [2, 2]
    after = Resends(100)
    kept = WrittenDigests.FromString(message.SerializeToString())
    assert (kept.generation, kept.through) == (7, 3)
    for appended_at_ns, digests in saved_entries(kept):
        after.learn(appended_at_ns, digests)
    for each in first[3:]:
        after.read(each)
    probe = [entry(7, "n1", "m3", "new", at=60), entry(8, "n6", at=125.5), entry(9, "n2", at=125.5)]
    assert fresh(after, *probe) == fresh(before, *probe) == [["new"], ["n2"]]


def test_what_is_not_saved_when_the_wal_uses_sequences_again_is_saved_with_the_place_behind_which_it_does() -> None:
    """Under the new generation, whose sequences are unrelated to the old ones."""
    resends = Resends(100)
    resends.fresh([entry(number, f"n{number}") for number in (8, 9, 10)])
    resends.renumber(8)
    message = resends.unsaved(2, 8)
    assert message is not None
    assert len(message.entries) == 3


def test_bytes_that_are_no_entry_are_named() -> None:
    """Nothing is skipped silently."""
    for wrong in (b"\x12\x00", b"\x0a\x05abc", b"\x0a\x02\x42\x00"):
        with pytest.raises(ValueError, match="not a"):
            list(codec.envelopes(wrong))
