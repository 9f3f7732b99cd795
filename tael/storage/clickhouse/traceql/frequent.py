"""SQL for counts of attributes with very many values, pure: first the hashes of those that are frequent, then how many spans have these.

Grouping by a hash of eight bytes takes half the time of grouping by a text. Ties are broken by the text, so all values of a tie are
counted; where they are too many for that, ``compared.count_many`` groups by the values themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.traceql.compared import Compared, Group, Valued, by_key, keys_of, text_of

MOST_ALIKE: Final = 300
"""Up to this many values that are equally frequent are counted by their hashes."""
_MISSING: Final = 1
"""The place of a missing value, whose hash is 0; those of frequent values follow, and 0 is that of all others."""


def find_frequent(spans: Compared, keys: Sequence[Valued], most: int) -> Statement:
    """The greatest numbers of spans with the same value. Columns: the number of the key, whether these are selected spans, how many spans
    there are, how many values have as many, and hashes of at most MOST_ALIKE of these.
    """
    values = ", ".join(f"{one.sql(number)} AS v{number}" for number, one in enumerate(keys))
    hashes = ", ".join(_hash(one, number) for number, one in enumerate(keys))
    grouped = (
        "SELECT number, hash, sum(chosen) AS chosen_spans, count() - chosen_spans AS others\n"  # noqa: S608  # names of ours and parameters
        f"    FROM (SELECT toUInt8({spans.selected}) AS chosen, {values}, [{hashes}] AS hashes\n      FROM {spans.rows}\n      WHERE {spans.base})\n"
        f"    ARRAY JOIN hashes AS hash, {[*range(len(keys))]} AS number\n    WHERE hash != 0\n    GROUP BY number, hash"
    )
    # What a grouping set does not hold reads as 0, so sums are the one that it holds.
    sql = (
        f"SELECT number, grouping(others) = 1 AS of_chosen, chosen_spans + others AS spans, count(), groupArray({MOST_ALIKE})(hash)\n"  # the same
        f"FROM (\n    {grouped}\n)\nGROUP BY GROUPING SETS ((number, chosen_spans), (number, others))\nHAVING spans > 0\n"
        "ORDER BY number, of_chosen, spans DESC\nLIMIT {most:UInt64} BY number, of_chosen"
    )
    return spans.statement(sql, **keys_of(keys), most=most)


def frequent(rows: Iterable[tuple[int, bool, int, int, Sequence[int]]], keys: int, most: int) -> list[list[int] | None]:
    """For each of so many keys the hashes of the ``most`` frequent values, and of those that are as frequent as the last of these; None if
    they are too many. ``rows`` are those of ``find_frequent``.
    """
    found: list[dict[int, None] | None] = [{} for _ in range(keys)]
    counted: dict[tuple[int, bool], int] = {}
    for number, chosen, _, values, hashes in rows:
        before, into = counted.get((number, chosen), 0), found[number]
        counted[number, chosen] = before + values
        if before < most and into is not None:
            found[number] = into | dict.fromkeys(hashes) if values <= MOST_ALIKE else None
    return [None if own is None else list(own) for own in found]


def count_frequent(spans: Compared, wanted: Mapping[Valued, Sequence[int]], steps: int) -> Statement:
    """As ``compared.count_few``, for the values with these hashes; the text is empty for all others."""
    groups, parameters = [], dict[str, list[int]]()
    for number, (one, hashes) in enumerate(wanted.items()):
        parameters[f"hashes_{number}"] = [0, *hashes]
        known = f"{{hashes_{number}:Array(UInt64)}}"
        place = f"toUInt16(transform({_hash(one, number)}, {known}, arrayEnumerate({known}), 0))"
        value = f"{one.sql(number)} AS v{number}, {place} AS k{number}"
        groups.append(Group(value, f"if(k{number} = 0, '', {text_of(one, f'any(v{number})')})", f"k{number} != {_MISSING}"))
    return by_key(spans, groups, steps, **keys_of([*wanted]), **parameters)


def _hash(one: Valued, number: int) -> str:
    """SQL for the hash of a value; 0 is what a missing key reads as."""
    return f"if({one.has(f'v{number}')}, CAST(xxh3(v{number}), 'UInt64'), 0)"
