"""Which parts of a pack may have a word, pure (docs/adr/0031): beside a pack is an object with its words, which is read before any content.

A row is a word of at least one content, as the CRC-32 of its bytes in lower case, and the parts of the pack whose contents have it. A part
is the first 16 bits of a payload's hash, in whose order a pack is, so parts are ranges of hashes wherever row groups end. Two words with
one CRC-32 share a row: then more parts are read than needed. What a part holds is decided by its contents alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tael.cold.files import ColdFile
from tael.model.escaped import behind_breaks
from tael.model.predicate import And, Not, Or, Predicate, Words, conjuncts, intrinsic, mentions
from tael.storage.clickhouse import parquet
from tael.storage.clickhouse.rows import Row, text

CONTENT: Final = intrinsic("llm_content")
STRUCTURE: Final = parquet.structure([("word", "UInt32"), ("parts", "Array(UInt16)")])
MOST_PARTS: Final = 128
"""A word in more parts than this has none in its row: opening so many places is no cheaper than reading the pack from end to end."""
MOST_RANGES: Final = 96
"""How many ranges of hashes a statement has for one condition at most: each row that is read is compared with them."""
MOST_BYTES: Final = 256 << 20
"""How much of packs one condition reads by ranges, by the size of their files."""
_LAST: Final = (1 << 16) - 1
_WRITE: Final = parquet.write(
    {
        "output_format_parquet_write_bloom_filter": 0,
        "output_format_parquet_row_group_size": 65_536,
        "output_format_parquet_data_page_size": 65_536,
    }
)


@dataclass(frozen=True, slots=True)
class Branch:
    """Packs to read together, and the first and last part of each range of them to read; None for all of them."""

    files: Sequence[ColdFile]
    ranges: Sequence[tuple[int, int]] | None = None

    @property
    def share(self) -> float:
        """The share of each pack that is in the ranges."""
        return sum(last + 1 - first for first, last in self.ranges or ()) / (_LAST + 1)

    @property
    def condition(self) -> str:
        """The condition on ``hash``, empty if there is none."""
        return " OR ".join(f"({_within(first, last)})" for first, last in self.ranges or ())


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of words: by a pack's key and CRC-32, the parts that have the word, or None for any part. A pack that is not known may
    have any.

    ``every``: all packs of the range are known. ``only``: the parts that matter, of any pack.
    """

    found: Mapping[str, Mapping[int, frozenset[int] | None]] = field(default_factory=dict)
    every: bool = False
    only: frozenset[int] | None = None

    def parts(self, key: str, words: Sequence[str]) -> frozenset[int] | None:
        """The parts of the pack that may have a content with all of the words, None if any may."""
        known = self.found.get(key)
        found = [self.only] if known is None else [self.only, *(_of_word(known, word) for word in words)]
        every = [parts for parts in found if parts is not None]
        return frozenset.intersection(*every) if every else None

    def in_full(self, leaves: Sequence[Predicate]) -> list[str]:
        """The known packs of which one of these conditions on contents would read everything, for a word that many contents have or for
        parts of words.
        """
        words = [leaf.words if isinstance(leaf, Words) else () for leaf in leaves]
        return [key for key in self.found if any(self.parts(key, each) is None for each in words)]

    def common(self, predicate: Predicate) -> tuple[Words, ...]:
        """The searches for words that the predicate requires and that would read a pack in full; none unless another one is known to read
        parts alone.
        """
        leaves = [part for part in conjuncts(predicate) if mentions(part, CONTENT)]
        found = tuple(leaf for leaf in leaves if isinstance(leaf, Words) and any(self.parts(key, leaf.words) is None for key in self.found))
        # Any other condition on contents would read packs in full twice.
        return found if self.every and len(found) < len(leaves) and all(isinstance(leaf, Words) for leaf in leaves) else ()

    def within(self, leaves: Sequence[Words], parts: Collection[int]) -> Held:
        """The same with these parts alone for words of ``leaves``."""
        some, words = frozenset(parts), {crc(each) for leaf in leaves for word in leaf.words for each in _spellings(word)}

        def narrowed(word: int, held: frozenset[int] | None) -> frozenset[int] | None:
            return held if word not in words else some if held is None else held & some

        return Held({key: {word: narrowed(word, held) for word, held in known.items()} for key, known in self.found.items()}, self.every)

    def split(self, files: Sequence[ColdFile], words: Sequence[str], most: int) -> tuple[list[ColdFile], list[Branch]]:
        """The packs to read in full for contents with all of the words, and at most ``most`` branches of those to read in part; others have
        none.
        """
        parts = {file.key: self.parts(file.key, words) for file in files}
        some = [file for file in files if parts[file.key]]
        step = max(1, -(-len(some) // most))
        chunks = [some[start : start + step] for start in range(0, len(some), step)]
        branches = [_branch(chunk, [parts[file.key] or frozenset() for file in chunk], len(chunks)) for chunk in chunks]
        # The engine holds more of a pack where hashes are compared too: what would be read nearly whole is read whole.
        in_part = [branch for branch in branches if branch.share * sum(file.bytes for file in branch.files) <= MOST_BYTES // len(branches)]
        read = {file.key for branch in in_part for file in branch.files}
        return [file for file in files if parts[file.key] != frozenset() and file.key not in read], in_part


def _spellings(word: str) -> tuple[str, ...]:
    return (word, *behind_breaks(word))


def _of_word(known: Mapping[int, frozenset[int] | None], word: str) -> frozenset[int] | None:
    """The parts that have a word or what it is behind an escape, None where one of these is in too many."""
    parts = [known.get(crc(each), frozenset()) for each in _spellings(word)]
    some = [each for each in parts if each is not None]
    return frozenset[int]().union(*some) if len(some) == len(parts) else None


def _branch(files: Sequence[ColdFile], parts: Sequence[frozenset[int]], branches: int) -> Branch:
    return Branch(files, joined(ranges_of(frozenset[int]().union(*parts)), MOST_RANGES // branches))


def crc(word: str) -> int:
    """A word, as words_of gives it, as in the objects."""
    return zlib.crc32(word.encode())


def ranges_of(parts: Collection[int]) -> list[tuple[int, int]]:
    """The parts as ranges, each with its last part."""
    found: list[tuple[int, int]] = []
    for part in sorted(parts):
        if found and found[-1][1] == part - 1:
            found[-1] = (found[-1][0], part)
        else:
            found.append((part, part))
    return found


def joined(ranges: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """At most ``most`` ranges that cover these, which are sorted: the widest gaps stay open."""
    gaps = sorted(((after[0] - before[1], index) for index, (before, after) in enumerate(pairwise(ranges))), reverse=True)
    cuts = sorted(index + 1 for _, index in gaps[: most - 1])
    return [(ranges[start][0], ranges[end - 1][1]) for start, end in pairwise((0, *cuts, len(ranges)))]


def searched(predicate: Predicate) -> tuple[str, ...]:
    """The words that the predicate looks for in contents, and what they are behind an escape, sorted."""
    if isinstance(predicate, And | Or):
        return tuple(sorted({word for part in predicate.parts for word in searched(part)}))
    if isinstance(predicate, Not):
        return searched(predicate.part)
    if not isinstance(predicate, Words) or predicate.field != CONTENT:
        return ()
    return tuple(sorted({each for word in predicate.words for each in _spellings(word)}))


def write_statement(pack_url: str, words_url: str, spill_bytes: int) -> str:
    """Write the words of a pack to its object. What does not fit into memory is grouped on disk."""
    words = "arrayMap(word -> CRC32(word), tokens(lower(content), 'splitByNonAlpha'))"
    # One part more than is written shows that there are too many.
    found = (
        f"SELECT arrayJoin({words}) AS word, groupUniqArray({MOST_PARTS + 1})({_PART}) AS found\n"
        f"FROM s3('{pack_url}', 'Parquet', {parquet.structure([('hash', 'FixedString(32)'), ('content', 'String')])})\nGROUP BY word"
    )
    return (
        f"INSERT INTO FUNCTION s3('{words_url}', 'Parquet') SELECT word, if(length(found) > {MOST_PARTS}, [], arraySort(found)) AS parts\n"  # keys of ours
        f"FROM ({found})\nORDER BY word\n"
        f"{_WRITE}, use_hive_partitioning = 0, max_bytes_before_external_group_by = {spill_bytes}, max_bytes_before_external_sort = {spill_bytes}"
    )


def size_statement(words_url: str) -> str:
    """The number of words in an object, and its bytes."""
    return f"SELECT count(), any(_size) FROM s3('{words_url}', 'Parquet', {STRUCTURE})\nSETTINGS use_hive_partitioning = 0"  # noqa: S608  # the same


def find_statement(objects: str) -> str:
    """The rows of the ``words`` (their CRC-32) in objects: path, word and parts."""
    return f"SELECT _path, word, parts\nFROM ({objects})\nWHERE word IN {{words:Array(UInt32)}}"  # the same


def held(files: Sequence[ColdFile], rows: Sequence[Row], *, every: bool = False) -> Held:
    """What the rows of ``find_statement`` say of these packs, which may be ``every`` one of the range."""
    found: dict[str, dict[int, frozenset[int] | None]] = {file.key: {} for file in files}
    keys = {file.words_key: file.key for file in files}
    for path, word, parts in rows:
        [key] = [keys[tail] for tail in _tails(text(path)) if tail in keys]
        found[key][int(word)] = frozenset(map(int, parts)) or None
    return Held(found, every)


def _tails(path: str) -> list[str]:
    """The ends of a path that begin a folder: a key is one of them, behind the bucket's name and a prefix."""
    pieces = path.split("/")
    return ["/".join(pieces[start:]) for start in range(len(pieces))]


def _within(first: int, last: int) -> str:
    least = f"hash >= {_hash(first)}"
    return least if last == _LAST else f"{least} AND hash < {_hash(last + 1)}"


def _hash(part: int) -> str:
    return f"toFixedString(unhex('{part:04X}'), 32)"


_PART: Final = (
    "bitOr(bitShiftLeft(toUInt16(reinterpretAsUInt8(substring(hash, 1, 1))), 8), toUInt16(reinterpretAsUInt8(substring(hash, 2, 1))))"
)
