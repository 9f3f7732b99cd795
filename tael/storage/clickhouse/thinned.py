"""Rollups of native histograms as SQL, pure: of each series and five minutes only the histograms stay that PromQL's functions need
(docs/adr/0022).

These are the first and the last one, and the two on either side of anything but plain growth: a reset, another layout, a stale marker.
Between two histograms of a counter that stay, all counts only grew, so no reset is lost or invented, and the coarsest schema of a window is
that of one that stays. Of a gauge, the first and the last value stay.
"""

from __future__ import annotations

from typing import Final

from tael.model.histogram import RESET_GAUGE, RESET_YES
from tael.storage.clickhouse.parquet import Columns
from tael.storage.clickhouse.rollup import end_ms

_LAYOUT: Final = ("schema", "zero_threshold", "custom_bounds")
_COUNTS: Final = ("count", "zero_count")
_SIDES: Final = ("positive", "negative")
_BEFORE: Final = (*_LAYOUT, *_COUNTS, "reset_hint", *(f"{side}_{part}" for side in _SIDES for part in ("index", "counts")))
_OF: Final = f"PARTITION BY tenant, metric, series, {end_ms('ts')} ORDER BY ts"
_AFTER_ONE: Final = f"OVER ({_OF} ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
_BEFORE_ONE: Final = f"OVER ({_OF} ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING)"
_STALE: Final = "reinterpretAsUInt64(sum) = 0x7FF0000000000002"


def thinned(raw: str, columns: Columns) -> str:
    """A SELECT of the rows of a rollup, in its order, from ``raw``, the rows of an hour of a tenant without duplicates; ``columns`` are the
    table's.
    """
    names = ", ".join(f"`{name}`" for name, _ in columns)
    # From the inside out: ``apart`` marks a row that is not plain growth from the one before, ``stays`` keeps it and the one before it, and
    # ``left_out`` counts the rows that were dropped between a row that stays and the one before.
    before = ", ".join(f"lagInFrame({name}) {_AFTER_ONE} AS b_{name}" for name in _BEFORE)
    return (
        f"SELECT {names}, 1 + (left_out + leadInFrame(left_out) {_BEFORE_ONE}) / 2 AS weight\n"  # noqa: S608  # names of ours
        f"FROM (SELECT *, place - lagInFrame(place) {_AFTER_ONE} - 1 AS left_out\n"
        f"FROM (SELECT *, apart OR leadInFrame(apart, 1, toUInt8(1)) {_BEFORE_ONE} AS stays\n"
        f"FROM (SELECT *, toUInt8(place = 1 OR stale OR b_stale OR {_differs()}) AS apart\n"
        f"FROM (SELECT {names}, {_STALE} AS stale, lagInFrame(stale) {_AFTER_ONE} AS b_stale, {before}, row_number() OVER ({_OF}) AS place FROM {raw})))\n"
        "WHERE stays)\nORDER BY tenant, metric, series, ts"
    )


def _differs() -> str:
    """The condition that a row is not plain growth from the row before. It may be true too often, which keeps a row more, but never too
    seldom.
    """
    fell = [f"{name} < b_{name}" for name in _COUNTS]
    fell += [
        f"arrayExists(grown -> grown < 0, mapSubtract(({side}_index, {side}_counts), (b_{side}_index, b_{side}_counts)).2)"
        for side in _SIDES
    ]
    gauge = f"reset_hint = {RESET_GAUGE}"
    layout = [f"{name} != b_{name}" for name in _LAYOUT]
    return " OR ".join((*layout, f"({gauge}) != (b_{gauge})", f"reset_hint = {RESET_YES}", f"NOT {gauge} AND ({' OR '.join(fell)})"))
