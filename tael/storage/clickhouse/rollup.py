"""Rollups of samples as SQL, pure: what a bucket's row holds, how a file of samples becomes one, and how rows of both kinds are read as buckets.

A bucket is ``(end - 5 min, end]``, as PromQL's windows are. Its row stands as a sample, the last one, at its end, so that who knows nothing of
rollups reads a sample every five minutes: an instant selector finds it for as long as the next bucket is not over, and no longer.
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
"""What a rollup has beside the columns of samples; a sample as it came has zeros there."""
WEIGHT: Final[Columns] = (("weight", "Float64"),)
"""What one has beside those of histograms: how many of its five minutes a row stands for, one and half of those that were left out on either side."""
BESIDE: Final = {"samples": COLUMNS, "histograms": WEIGHT}
"""The same by table."""
IS_ROLLUP: Final = "`count` + `stale` > 0"
_STALE: Final = "reinterpretAsFloat64(toUInt64(0x7FF0000000000002))"
_LIVE: Final = "reinterpretAsUInt64({}) != 0x7FF0000000000002"
_EARLIER: Final = "OVER (PARTITION BY series, end_ms ORDER BY a_ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
_LAST_BEFORE: Final = f"if(count() {_EARLIER} > 0 AND max(z_ts) {_EARLIER} < a_ts, argMax(z, z_ts) {_EARLIER}, nan) AS before"
"""The last value before a row begins; NaN, below which nothing is, where there is none or a rollup goes on beyond."""


def rolled_up(raw: str, file: ColdFile) -> str:
    """A SELECT of the rows of a rollup, in its order, from ``raw``, the rows of ``file`` (an hour of a tenant) without duplicates.

    Samples that differ in whether they are stale markers are looked at apart: no marker counts as a value before or behind another one.
    Where a marker is a bucket's last sample it is a row of its own at its own time, and the bucket's values are at theirs.
    """
    end = f"fromUnixTimestamp64Milli(least(end_ms, {(file.hour_ns + HOUR_NS) // NS_PER_MS - 1}), 'UTC')"  # a row stays in its hour
    names = [name for name, _ in COLUMNS]
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
    """Into which buckets: ``(base + i · length, base + (i + 1) · length]``, ``base`` and ``length`` being times and lengths of whole rollups.

    Of every ``step_ms`` from ``base`` on only the first ``wide_ms`` are wanted.
    """

    base_ms: int
    length_ms: int
    step_ms: int
    wide_ms: int


def buckets(samples: str, columns: Sequence[str], group: Grouping) -> str:
    """A SELECT of series, end in milliseconds, and those of BUCKET, by series and end, from samples with the columns of rollups.

    A bucket may have several rows, of which each is one sample or a rollup: what a reset took between two of them is found here. A sample that
    came late may lie between those of a rollup, which are not known any more: it is no reset, and not what comes before the row behind it.
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
    """The same for a row as it came, as columns to be selected."""
    return ", ".join(
        f"CAST(0, '{kind}') AS `{name}`" if kind != _TIME else f"toDateTime64(0, 3, 'UTC') AS `{name}`" for name, kind in BESIDE[table]
    )


def listed(columns: Sequence[tuple[str, str]]) -> str:
    """Names of columns."""
    return ", ".join(f"`{name}`" for name, _ in columns)


def end_ms(time: str) -> str:
    """The end, in milliseconds, of the bucket of five minutes that a time is in."""
    return f"intDiv(toUnixTimestamp64Milli({time}) + {ROLLUP_MS - 1}, {ROLLUP_MS}) * {ROLLUP_MS}"


def _before(value: str, of: str, time: str) -> str:
    """The value before, in the order of time; NaN for the first, below which nothing is."""
    return f"lagInFrame({value}, 1, nan) OVER (PARTITION BY {of} ORDER BY {time} ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before"


def _sum(value: str, condition: str = "1") -> str:
    """The compensated sum; beside an infinity compensation would give NaN."""
    return f"if(isFinite(sumIf({value}, {condition})), sumKahanIf({value}, {condition}), sumIf({value}, {condition}))"


def _extreme(function: str, value: str, condition: str = "1") -> str:
    """NaN only where there is nothing else, as Prometheus has it."""
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
"""What can be asked of a bucket (see ``tael.vectors.ranges.rollups``)."""
