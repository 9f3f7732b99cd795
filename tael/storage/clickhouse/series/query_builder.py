"""SQL for SeriesReader's queries, pure: values are passed as parameters, never in the text.

Series are chosen in the table ``series`` by hour, and samples by the numbers of those series. A metric that is named in full needs no
look-up: its number follows from its name, and without other matchers all of its series are wanted. FINAL hides duplicates that are not
merged away yet; the conditions there read only key columns, so ClickHouse may apply them before the merge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from tael.metrics.identity import metric_id
from tael.model.series import METRIC_NAME, ROLLUP_MS, GridFunction, GridRequest, Selection
from tael.model.time import NS_PER_MS, NS_PER_SECOND, TimeRange
from tael.storage.clickhouse import rollup
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.labels import LAST_SECOND, Where, hour_of, limited, matching
from tael.storage.clickhouse.source import Source

GRID_FUNCTIONS: Final[dict[GridFunction, str]] = {
    "last": "Last",
    "rate": "Rate",
    "increase": "Increase",
    "delta": "Delta",
    "irate": "InstantRate",
    "idelta": "InstantDelta",
    "changes": "Changes",
    "resets": "Resets",
    "deriv": "Deriv",
    "predict_linear": "PredictLinear",
    "sum_over_time": "Sum",
    "avg_over_time": "Avg",
    "min_over_time": "Min",
    "max_over_time": "Max",
    "count_over_time": "Count",
}
SAMPLE_COLUMNS: Final = ("series", "ts", "value")
HISTOGRAM_COLUMNS: Final = (
    "series",
    "ts",
    "schema",
    "count",
    "sum",
    "zero_threshold",
    "zero_count",
    "positive_index",
    "positive_counts",
    "negative_index",
    "negative_counts",
    "custom_bounds",
    "reset_hint",
)
_NOT_STALE: Final = "reinterpretAsUInt64(value) != 0x7FF0000000000002"
_WHOLE_KEY: Final = "SETTINGS do_not_merge_across_partitions_select_final = 1"
"""Merge each partition by itself, which is cheaper: rows of two hours never have the same key."""


def select_samples(source: Source, tenant: str, selection: Selection, limit: int, *, merged: bool = False) -> Statement:
    """At most ``limit`` rows of SAMPLE_COLUMNS, those of each series and part by time. ``merged`` hides duplicates, at three times the
    cost.

    Merged rows from several places are sorted here, because late rows of an hour lie between the others.
    """
    where = _of_series(source, tenant, selection)
    where.parameters["limit"] = limit
    instants = _instants(selection)
    unmerged = f"{source.rows('samples', tenant, instants)}\nWHERE {where}"
    places = source.merged("samples", where, tenant, instants) if merged else unmerged
    order = "\nORDER BY metric, series, ts" if merged and source.elsewhere("samples") else ""
    chosen = f"SELECT {', '.join(SAMPLE_COLUMNS)}\nFROM {places}{order}"
    return Statement(f"{chosen}\nLIMIT {{limit:UInt64}}" + (f"\n{_WHOLE_KEY}" if merged else ""), where.parameters)


def select_histograms(source: Source, tenant: str, selection: Selection, limit: int, *, rollups: bool = False) -> Statement:
    """At most ``limit`` rows of HISTOGRAM_COLUMNS in any order, without duplicates. With ``rollups`` their weight too, which is 0 for a row
    that is stored as it came.
    """
    where = _of_series(source, tenant, selection)
    where.parameters["limit"] = limit
    select_from = source.with_rollups if rollups else source.merged
    places = select_from("histograms", where, tenant, _instants(selection))
    columns = (*HISTOGRAM_COLUMNS, *(name for name, _ in rollup.WEIGHT if rollups))
    sql = f"SELECT {', '.join(columns)}\nFROM {places}\nLIMIT {{limit:UInt64}}\n{_WHOLE_KEY}"
    return Statement(sql, where.parameters)


def any_histogram(source: Source, tenant: str, selection: Selection) -> Statement:
    """One row when a series that matches has a native histogram in the range."""
    where = _of_series(source, tenant, selection)
    return Statement(f"SELECT 1\nFROM {source.rows('histograms', tenant, _instants(selection))}\nWHERE {where}\nLIMIT 1", where.parameters)


def grid(source: Source, tenant: str, request: GridRequest) -> Statement:
    """Each series with an array of its values at the steps, NULL where there is none; series without any are left out.

    Range functions ignore stale markers, so these are filtered out. ``last`` needs them, because a series ends at its marker: there they
    are values, which the caller hides.
    """
    selection = Selection(request.matchers, request.start_ms - request.window_ms, request.end_ms)
    where = _of_series(source, tenant, selection)
    fresh = "" if request.function == "last" else f"WHERE {_NOT_STALE}\n"
    argument = f", {request.argument!r}" if request.function == "predict_linear" else ""
    function = (
        f"timeSeries{GRID_FUNCTIONS[request.function]}ToGrid({_literal_time(request.start_ms)}, {_literal_time(request.end_ms)}, "
        # An instant query has no step, but the functions require one; as its start is its end, any step will do.
        f"{_literal_seconds(request.step_ms or 1)}, {_literal_seconds(request.window_ms)}{argument})(ts, value)"
    )
    sql = (
        f"SELECT series, {function} AS grid\nFROM {source.merged('samples', where, tenant, _instants(selection))}\n{fresh}"
        f"GROUP BY series\nHAVING arrayExists(v -> isNotNull(v), grid)\n{_WHOLE_KEY}"
    )
    return Statement(sql, where.parameters)


def buckets(source: Source, tenant: str, request: GridRequest, columns: Sequence[str]) -> Statement:
    """The series, end (ms) and ``columns`` of each bucket that the request's windows consist of, by series and end.

    The windows are made of whole rollups (``rollups.places``). Buckets are as long as possible, so that a wide window takes few rows.
    """
    step = request.step_ms or request.window_ms
    # Every window must begin and end at the border of a bucket: counted from ``base``, windows begin at multiples of the step and end a
    # window later.
    length = math.gcd(step, request.window_ms) if step % ROLLUP_MS == 0 else ROLLUP_MS
    base = request.start_ms - request.window_ms
    wanted = step if step % ROLLUP_MS == 0 else 0
    selection = Selection(request.matchers, base, request.end_ms)
    where = _of_series(source, tenant, selection)
    samples = source.with_rollups("samples", where, tenant, _instants(selection))
    group = rollup.Grouping(base, length, wanted, request.window_ms)
    return Statement(f"{rollup.buckets(samples, columns, group)}\n{_WHOLE_KEY}", where.parameters)


def rollups_until_ms(source: Source, tenant: str, selection: Selection, table: str = "samples") -> int:
    """The time before which some of the samples (or histograms) are rollups; 0 when none are."""
    return source.rollups_until(table, tenant, _instants(selection)) // NS_PER_MS


def list_series(source: Source, tenant: str, selection: Selection, limit: int, *, ordered: bool = False) -> Statement:
    """Number and labels of at most ``limit`` series; if ``ordered``, of the first ones by labels, each label set once."""
    where = matching(tenant, selection.matchers, (selection.start_ms, selection.end_ms), {"limit": limit})
    # By labels and not by number: one label set may stand under the numbers of two releases (docs/adr/0024).
    chosen = "any(series), mapSort(labels) AS own" if ordered else "series, any(labels)"
    group = "own\nORDER BY own" if ordered else "series"
    sql = f"SELECT {chosen}\nFROM {_series(source, tenant, selection)}\nWHERE {where}\nGROUP BY {group}\nLIMIT {{limit:UInt64}}"
    return Statement(sql, where.parameters)


def label_names(source: Source, tenant: str, selection: Selection, limit: int) -> Statement:
    """Names of labels, ordered."""
    return _distinct(source, tenant, selection, "arrayJoin(mapKeys(labels))", limit)


def label_values(source: Source, tenant: str, name: str, selection: Selection, limit: int) -> Statement:
    """Values of a label, ordered."""
    if name == METRIC_NAME:
        return _distinct(source, tenant, selection, "metric_name", limit)
    return _distinct(source, tenant, selection, "labels[{label:String}]", limit, label=name)


def _distinct(source: Source, tenant: str, selection: Selection, what: str, limit: int, **parameters: Any) -> Statement:
    where = matching(tenant, selection.matchers, (selection.start_ms, selection.end_ms), parameters)
    # A map reads as the empty text where a label is missing, and no label of Prometheus has an empty value.
    sql = f"SELECT DISTINCT {what} AS found\nFROM {_series(source, tenant, selection)}\nWHERE {where} AND found != ''\nORDER BY found"
    return Statement(sql + limited(where, limit), where.parameters)


def families(source: Source, tenant: str, metric: str, limit: int) -> Statement:
    """The metadata of each family, by name."""
    where = Where({"tenant": tenant})
    where.add("tenant = {tenant:String}")
    if metric:
        where.add("name = {metric:String}", metric=metric)
    columns = "name, type, unit, help"
    sql = f"SELECT {columns}\nFROM {source.rows('metric_families', tenant)}\nWHERE {where}\nGROUP BY {columns}\nORDER BY {columns}"
    return Statement(sql + limited(where, limit), where.parameters)


def exemplars(source: Source, tenant: str, selection: Selection, limit: int) -> Statement:
    """Series, time in ms, value and labels of exemplars; both ends of the range are included."""
    selection = Selection(selection.matchers, selection.start_ms - 1, selection.end_ms)
    where = _of_series(source, tenant, selection)
    where.parameters["limit"] = limit
    sql = (
        "SELECT series, toUnixTimestamp64Milli(ts), value, labels\n"
        f"FROM {source.merged('exemplars', where, tenant, _instants(selection))}\nORDER BY metric, series, ts\nLIMIT {{limit:UInt64}}\n{_WHOLE_KEY}"
    )
    return Statement(sql, where.parameters)


def _of_series(source: Source, tenant: str, selection: Selection) -> Where:
    """The conditions for rows of matching series in the range."""
    parameters: dict[str, Any] = {}
    of_series = matching(tenant, selection.matchers, (selection.start_ms, selection.end_ms), parameters)
    where = Where(parameters)
    where.add("tenant = {tenant:String}")
    series, name = _series(source, tenant, selection), _name(selection)
    if name is None:
        where.add(f"(metric, series) IN (SELECT metric, series FROM {series} WHERE {of_series})")  # noqa: S608  # only names of ours and parameters
    else:
        where.add("metric = {metric:UInt64}", metric=metric_id(name))
        if len(selection.matchers) > 1:
            where.add(f"series IN (SELECT series FROM {series} WHERE {of_series})")  # noqa: S608  # the same
    # A bound beyond what the column can hold would wrap around. It can be left out, because no sample lies there.
    if selection.start_ms >= 0:
        where.add(f"ts > {_time('start')}", start=selection.start_ms)
    if selection.end_ms < LAST_SECOND * 1000:
        where.add(f"ts <= {_time('end')}", end=selection.end_ms)
    return where


def _time(parameter: str) -> str:
    return f"fromUnixTimestamp64Milli({{{parameter}:Int64}}, 'UTC')"


def _literal_time(time_ms: int) -> str:
    """A time as SQL text: ClickHouse takes the parameters of an aggregate function only as constants, not as query parameters."""
    return f"fromUnixTimestamp64Milli({time_ms}, 'UTC')"


def _literal_seconds(milliseconds: int) -> str:
    return f"toDecimal64('{milliseconds // 1000}.{milliseconds % 1000:03}', 3)"


def _instants(selection: Selection) -> TimeRange:
    """The selection's range in ns."""
    # A selection excludes its start and includes its end; a TimeRange does the opposite.
    return TimeRange((selection.start_ms + 1) * NS_PER_MS, (selection.end_ms + 1) * NS_PER_MS)


def _series(source: Source, tenant: str, selection: Selection) -> str:
    """The rows of the table ``series`` for the hours that the selection touches."""
    first, last = (hour_of(time_ms // 1000) * NS_PER_SECOND for time_ms in (selection.start_ms, selection.end_ms))
    return source.rows("series", tenant, TimeRange(first, last + 1), name=_name(selection) or "")


def _name(selection: Selection) -> str | None:
    """The metric that a matcher names in full, if any."""
    return next((matcher.value for matcher in selection.matchers if matcher.name == METRIC_NAME and matcher.op == "="), None)
