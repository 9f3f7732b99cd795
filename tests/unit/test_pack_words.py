"""Where words are in packs: as ranges of hashes that hold every part that may have them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tael.cold.files import ColdFile
from tael.cold.pages import decode_page, encode_page
from tael.model.predicate import And, Compare, Contains, Not, Or, Words, intrinsic
from tael.storage.clickhouse.pack_words import CONTENT, MOST_RANGES, Branch, Held, crc, held, joined, ranges_of, searched
from tests.support.cold_files import a_file

PARTS = st.sets(st.integers(0, (1 << 16) - 1), min_size=1, max_size=200)


def packs(count: int) -> list[ColdFile]:
    return [a_file("payloads", generation=number, words=9) for number in range(count)]


@given(PARTS, st.integers(1, 100))
def test_ranges_hold_every_part(parts: set[int], most: int) -> None:
    exact = ranges_of(parts)
    assert {part for first, last in exact for part in range(first, last + 1)} == parts
    found = joined(exact, most)
    assert len(found) == min(most, len(exact))
    assert found == sorted(found)
    assert all(any(first <= part <= last for first, last in found) for part in parts)


def test_the_widest_gaps_stay_open() -> None:
    assert joined([(1, 2), (4, 4), (900, 901), (903, 903), (5_000, 5_000)], 3) == [(1, 4), (900, 903), (5_000, 5_000)]


def test_what_a_pack_is_read_for() -> None:
    """Nothing without one of the words, everything where all are common or nothing is known, and otherwise the parts that have
    all of them.
    """
    first, second, third = packs(3)
    known = Held(
        {
            first.key: {crc("rare"): frozenset((1, 2)), crc("other"): frozenset((2, 3)), crc("the"): None},
            second.key: {crc("the"): None},
        }
    )
    for words, whole, some in (
        (["rare"], [third], [Branch([first], [(1, 2)])]),
        (["rare", "other"], [third], [Branch([first], [(2, 2)])]),
        (["rare", "the"], [third], [Branch([first], [(1, 2)])]),
        (["the"], [first, second, third], []),
        (["absent"], [third], []),
        ([], [first, second, third], []),
    ):
        assert known.split([first, second, third], words, 24) == (whole, some), words


def test_some_parts_of_any_pack_may_matter_alone() -> None:
    """Of packs whose words are known, of others, and of those that would be read in full."""
    first, second = packs(2)
    the, rare, part = Words(CONTENT, ("the",)), Words(CONTENT, ("rare",)), Contains(CONTENT, "é")
    known = Held({first.key: {crc("rare"): frozenset((1, 2)), crc("the"): None}})
    assert [known.in_full(leaves) for leaves in ([the], [rare], [rare, the], [part], [])] == [[first.key], [], [first.key], [first.key], []]
    among = replace(known, only=frozenset((2, 9)))
    assert [among.in_full([leaf]) for leaf in (the, rare, part)] == [[], [], []]
    for words, each in ((["the"], [(2, 2), (9, 9)]), (["rare"], [(2, 2)]), ([], [(2, 2), (9, 9)])):
        assert among.split([first], words, 24) == ([], [Branch([first], each)])
    assert among.split([second], ["rare"], 24) == ([], [Branch([second], [(2, 2), (9, 9)])])
    assert replace(among, only=frozenset()).split([first, second], ["the"], 24) == ([], [])


def test_a_common_word_beside_a_rare_one_is_looked_for_in_part() -> None:
    """Where every pack is known; alone, in an alternative, or beside words that are as common it is not."""
    [pack] = packs(1)
    known = Held({pack.key: {crc("rare"): frozenset((1, 2)), crc("the"): None, crc("of"): None}}, every=True)
    rare, absent, the, both = (Words(CONTENT, words) for words in (("rare",), ("absent",), ("the",), ("rare", "the")))
    assert known.common(And((rare, the))) == (the,)
    assert known.common(And((absent, the, Words(CONTENT, ("of",))))) == (the, Words(CONTENT, ("of",)))
    for predicate in (
        the,
        rare,
        both,
        And((rare, absent)),
        And((the, Words(CONTENT, ("of",)))),
        Or((rare, the)),
        And((the, rare, Not(rare))),
    ):
        assert known.common(predicate) == ()
    assert replace(known, every=False).common(And((rare, the))) == ()
    narrowed = known.within((the, both), (2, 3))
    assert [narrowed.parts(pack.key, [word]) for word in ("the", "rare", "of", "absent")] == [{2, 3}, {2}, None, frozenset()]


def test_many_packs_share_branches() -> None:
    files = packs(100)
    known = Held({file.key: {crc("rare"): frozenset((number, number + 300))} for number, file in enumerate(files)})
    whole, some = known.split(files, ["rare"], 24)
    assert (whole, [file for branch in some for file in branch.files]) == ([], files)
    assert len(some) <= 24
    assert sum(len(branch.ranges or ()) for branch in some) <= MOST_RANGES


def test_what_would_be_read_nearly_whole_is_read_whole() -> None:
    """Without a condition on hashes; small packs are read by ranges all the same."""
    small, large = (replace(file, bytes=size) for file, size in zip(packs(2), (1 << 20, 1 << 30), strict=True))
    spread = frozenset(range(0, 1 << 16, 512))
    known = Held({small.key: {crc("rare"): spread}, large.key: {crc("rare"): spread}})
    whole, [branch] = known.split([small, large], ["rare"], 24)
    assert (whole, branch.files) == ([large], [small])


def test_rows_are_told_apart_by_their_paths() -> None:
    files = packs(11)
    rows = [(f"tael/some/prefix/{files[place].words_key}".encode(), crc("a"), parts) for place, parts in ((1, [7]), (10, []))]
    known = held(files, rows)
    assert [known.parts(file.key, ["a"]) for file in files] == [frozenset(), frozenset((7,)), *[frozenset()] * 8, None]


def test_the_last_part_has_no_end() -> None:
    assert Branch([], [(0xFFFE, 0xFFFF), (1, 1)]).condition == (
        "(hash >= toFixedString(unhex('FFFE'), 32)) OR (hash >= toFixedString(unhex('0001'), 32) AND hash < toFixedString(unhex('0002'), 32))"
    )


def test_the_words_that_contents_are_searched_for() -> None:
    """Under any logic, and behind an escaped line break or tab; not those of other fields, nor parts of words."""
    name = Words(intrinsic("name"), ("name",))
    predicate = And(
        (Words(CONTENT, ("b", "a")), Or((Not(Words(CONTENT, ("c",))), name)), Contains(CONTENT, "part"), Compare(intrinsic("kind"), "=", 1))
    )
    assert searched(predicate) == ("a", "b", "c", "na", "nb", "nc", "ra", "rb", "rc", "ta", "tb", "tc")


def test_a_page_without_words_is_one_that_older_releases_read() -> None:
    with_words, without = packs(1)[0], replace(packs(1)[0], words=0)
    assert decode_page("page", encode_page([with_words, without])) == (with_words, without)
    assert encode_page([without]) == encode_page([a_file("payloads")])
    assert with_words.keys == (with_words.key, with_words.key.replace("/0-0.parquet", "/_0-0.words"))
    assert a_file().keys == (a_file().key,)
