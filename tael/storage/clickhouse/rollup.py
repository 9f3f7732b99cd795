"""Rollups of samples as SQL, pure: the columns of a bucket's row, the rollup of a file of samples, and rows of both kinds read as buckets.

A bucket is ``(end - 5 min, end]``, like PromQL's windows. Its row is also a sample: the bucket's last value, at the bucket's end. A reader
that does not know about rollups thus sees a sample every five minutes, which an instant selector finds exactly until the next bucket ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tael.cold.files import ColdFile
from tael.model.series import ROLLUP_MS
from tael.model.time import HOUR_NS, NS_PER_MS
from tael.storage.clickhouse.parquet import Columns

_TIME: Final = "DateTime64(3, 'UTC')"
COLUMNS: Final[Columns] = (
    ("count", "UInt64"),
    ("stale", "UInt64"),
    ("sum", "Float64"),
    ("min", "Float64"),
    ("max", "Float64"),
    ("first", "Float64"),
    ("first_ts", _TIME),
    ("last_ts", _TIME),
    ("before_resets", "Float64"),
)
"""The columns of a rollup in addition to those of samples; they are zero for a raw sample."""
WEIGHT: Final[Columns] = (("weight", "Float64"),)
"""The additional column of a rollup of histograms: how many histograms a row stands for, itself and half of those left out on
either side.
"""
BESIDE: Final = {"samples": COLUMNS, "histograms": WEIGHT}
"""The additional columns of rollups by table."""
IS_ROLLUP: Final = "`count` + `stale` > 0"
_STALE: Final = "reinterpretAsFloat64(toUInt64(0x7FF0000000000002))"
_LIVE: Final = "reinterpretAsUInt64({}) != 0x7FF0000000000002"
_EARLIER: Final = "OVER (PARTITION BY series, end_ms ORDER BY a_ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
_LAST_BEFORE: Final = f"if(count() {_EARLIER} > 0 AND max(z_ts) {_EARLIER} < a_ts, argMax(z, z_ts) {_EARLIER}, nan) AS before"
"""The last value before a row begins. NaN, than which no value is smaller, if there is none or an earlier rollup extends beyond the row's
beginning.
"""


def rolled_up(raw: str, file: ColdFile) -> str:
    """A SELECT of the rows of a rollup, in its order, from ``raw``, the rows of ``file`` (an hour of a tenant) without duplicates.

    Stale markers and values are aggregated separately, so that a marker never counts as the value before another one. If a marker is a
    bucket's last sample, it gets a row of its own at its own time, and the row of the values is at the time of the last value.
    """
    end = f"fromUnixTimestamp64Milli(least(end_ms, {(file.hour_ns + HOUR_NS) // NS_PER_MS - 1}), 'UTC')"  # a row stays in its hour
    names = [name for name, _ in COLUMNS]
    # A bucket gives up to two rows, of its values and of a stale marker after them; a row that counts nothing is filtered out.
    row = ", ".join(f"row.{place} AS `{name}`" for place, name in enumerate(("ts", "value", *names), 1))
    return (
        f"SELECT tenant, metric, series, {row}\n"  # noqa: S608  # names and numbers of ours
        "FROM (SELECT tenant, metric, series, arrayJoin(arrayFilter(row -> row.3 + row.4 > 0, [\n"
        f"(if(ended, z_ms, {end}), z, n, if(ended OR n = 0, 0, markers), total, least_, most, a, a_ms, z_ms, resets),\n"
        f"(marked, {_STALE}, toUInt64(0), if(ended OR n = 0, markers, 0), 0., 0., 0., 0., marked, marked, 0.)])) AS row\n"
        "FROM (SELECT tenant, metric, series, end_ms, countIf(live) AS n, countIf(NOT live) AS markers, maxIf(ts, NOT live) AS marked,\n"
        f"{_sum('value', 'live')} AS total, {_extreme('min', 'value', 'live')} AS least_, {_extreme('max', 'value', 'live')} AS most,\n"
        "argMinIf(value, ts, live) AS a, minIf(ts, live) AS a_ms, argMaxIf(value, ts, live) AS z, maxIf(ts, live) AS z_ms,\n"
        "sumIf(before, live AND value < before) AS resets, n > 0 AND markers > 0 AND marked > z_ms AS ended\n"
        f"FROM (SELECT *, {_before('value', 'tenant, metric, series, end_ms, live', 'ts')}\n"
        f"FROM (SELECT tenant, metric, series, ts, value, {end_ms('ts')} AS end_ms, {_LIVE.format('value')} AS live FROM {raw}))\n"
        "GROUP BY tenant, metric, series, end_ms))\nORDER BY tenant, metric, series, ts"
    )


@dataclass(frozen=True, slots=True)
class Grouping:
    """A grouping into the buckets ``(base + i · length, base + (i + 1) · length]``, where ``base`` and ``length`` are multiples of a
    rollup's length.

    Of every ``step_ms`` from ``base`` on, only the first ``wide_ms`` are read.
    """

    base_ms: int
    length_ms: int
    step_ms: int
    wide_ms: int


def buckets(samples: str, columns: Sequence[str], group: Grouping) -> str:
    """A SELECT of series, end in milliseconds, and ``columns`` of BUCKET, by series and end, from samples with the columns of rollups.

    A bucket may have several rows, each a raw sample or a rollup: resets between two rows are found here. A late sample may lie between the
    samples of a rollup, which are no longer known: it counts neither as a reset nor as the value before the next row.
    """
    one = "`count` = 0"
    since = f"toUnixTimestamp64Milli(ts) - {group.base_ms}"
    end = f"intDiv({since} + {group.length_ms - 1}, {group.length_ms}) * {group.length_ms} + {group.base_ms}"
    wanted = f" AND ({since} - 1) % {group.step_ms} < {group.wide_ms}" if group.step_ms > group.wide_ms else ""
    rows = (
        f"SELECT series, {end} AS end_ms, value AS z, if({one}, toUInt64(1), `count`) AS n, if({one}, value, `sum`) AS total,\n"  # the same
        f"if({one}, value, `min`) AS least_, if({one}, value, `max`) AS most, if({one}, value, `first`) AS a, if({one}, ts, first_ts) AS a_ts,\n"
        f"if({one}, ts, last_ts) AS z_ts, before_resets AS resets\nFROM {samples}\nWHERE {_LIVE.format('value')}{wanted}"
    )
    if "before_resets" in columns:
        rows = f"SELECT *, {_LAST_BEFORE}\nFROM ({rows})"  # the same
    chosen = "".join(f", {BUCKET[name]}" for name in columns)
    return f"SELECT series, end_ms{chosen}\nFROM ({rows})\nGROUP BY series, end_ms\nORDER BY series, end_ms"  # the same


def none(table: str) -> str:
    """The additional columns of rollups, as selected for raw rows: all zero."""
    return ", ".join(
        f"CAST(0, '{kind}') AS `{name}`" if kind != _TIME else f"toDateTime64(0, 3, 'UTC') AS `{name}`" for name, kind in BESIDE[table]
    )


def listed(columns: Sequence[tuple[str, str]]) -> str:
    """The names of the columns, for a SELECT."""
    return ", ".join(f"`{name}`" for name, _ in columns)


def end_ms(time: str) -> str:
    """SQL for the end, in milliseconds, of the five-minute bucket of a time."""
    return f"intDiv(toUnixTimestamp64Milli({time}) + {ROLLUP_MS - 1}, {ROLLUP_MS}) * {ROLLUP_MS}"


def _before(value: str, of: str, time: str) -> str:
    """SQL for the previous value in order of time; NaN for the first, than which no value is smaller, so that it is never a reset."""
    return f"lagInFrame({value}, 1, nan) OVER (PARTITION BY {of} ORDER BY {time} ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before"


def _sum(value: str, condition: str = "1") -> str:
    """SQL for the compensated sum, or the plain one if it is infinite, where compensation would give NaN."""
    return f"if(isFinite(sumIf({value}, {condition})), sumKahanIf({value}, {condition}), sumIf({value}, {condition}))"


def _extreme(function: str, value: str, condition: str = "1") -> str:
    """SQL for the minimum or maximum, which is NaN only if all values are, as in Prometheus."""
    return f"if(countIf({condition} AND NOT isNaN({value})) = 0, nan, {function}If({value}, {condition} AND NOT isNaN({value})))"


BUCKET: Final = {
    "count": "sum(n)",
    "sum": _sum("total"),
    "min": _extreme("min", "least_"),
    "max": _extreme("max", "most"),
    "first_ms": "toUnixTimestamp64Milli(min(a_ts))",
    "first": "argMin(a, a_ts)",
    "last_ms": "toUnixTimestamp64Milli(max(z_ts))",
    "last": "argMax(z, z_ts)",
    "before_resets": "sum(resets) + sumIf(before, a < before)",
}
"""The columns that can be selected of a bucket (see ``tael.vectors.ranges.rollups``)."""
