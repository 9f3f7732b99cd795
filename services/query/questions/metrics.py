"""Queries of metrics: points of series, newest first, and PromQL over a range."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.query.backend import Backend
from services.query.parameters import Parameters
from services.query.promql.engine import Outcome, Query
from services.query.questions.page import RANGE
from tael.errors import Rejected
from tael.metrics.names import Kind, Names
from tael.model.series import METRIC_NAME, Family, Labels, Matcher, Samples, Selection, is_stale
from tael.model.time import NS_PER_SECOND, TimeRange
from tael.storage import llm_metrics, llm_series
from tael.vectors.histograms.documents import Document, documents
from tael.vectors.values import Steps

_DEFAULT_LIMIT, _DEFAULT_RANGE_NS = 500, 3600 * NS_PER_SECOND
# The newest points are usually in the first two minutes; where they are not, a year takes eight reads.
_FIRST_LOOK_MS, _LOOK_FACTOR = 60_000, 8
_STEPS, _LEAST_STEP_MS, _MAX_STEPS = 250, 1_000, 11_000
_TYPES = {"counter": "sum", "gauge": "gauge", "histogram": "histogram", "gaugehistogram": "histogram", "summary": "summary"}
_SUFFIXES = ("_total", "_bucket", "_sum", "_count")
DERIVED = f"traces_spanmetrics_.*|traces_service_graph_.*|target_info|{llm_metrics.COST}"
"""Metrics that nobody sent: tael derives them from spans and resources."""
_OF_A_FAMILY = f"({'|'.join(_SUFFIXES)})?"


@dataclass(frozen=True, slots=True)
class Point:
    """One sample of a metric, a number or a native histogram; ``labels`` do not include the name, ``type`` is OTLP's."""

    time_ms: int
    service: str
    name: str
    type: str
    unit: str
    labels: Mapping[str, str]
    value: float | None
    histogram: Document | None = None


@dataclass(frozen=True, slots=True)
class Points:
    """Points, newest first, and the shards that did not contribute."""

    points: list[Point]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Families:
    """Metric families by name, and the shards that did not contribute."""

    families: list[Family]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A PromQL query and its outcome."""

    query: Query
    outcome: Outcome


@contextlib.asynccontextmanager
async def find_points(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Points]:
    """Points of the series that match ``service``, ``name`` and ``metric_type`` in a range, at most ``limit``.

    Without a name, metrics derived from spans and resources are left out unless ``derived`` is true.

    Raises Rejected, and what the reader raises.
    """
    now_ns = time.time_ns()
    parameters = Parameters(pairs, known=("service", "name", "metric_type", "derived", "limit", *RANGE))
    most = backend.settings.max_query_limit
    limit = parameters.whole("limit", default=_DEFAULT_LIMIT, low=1, high=most, high_from="TAEL_MAX_QUERY_LIMIT")
    kind = parameters.choice("metric_type", sorted(set(_TYPES.values())))
    derived = parameters.choice("derived", ("true", "false")) == "true"
    counted = derived or bool(parameters.text("name"))
    time_range = parameters.time_range(now_ns=now_ns)
    reader, max_samples = backend.engine.reader, backend.engine.options.max_samples
    async with backend.turns.turn("metrics", tenant) as turn:
        families = await turn.ask(reader.families(tenant, "", 0))
        known = {family.name: family for family in families.value}
        named = matcher_of(names_of(parameters.text("name"), families.value), derived=derived)
        wanted = [(named, *of_service) for of_service in services_of(parameters.text("service"), counted=counted)]
        missing, points = set(families.missing), list[Point]()
        for start_ms, end_ms in looks(time_range, now_ns):
            looked, room = list[Point](), limit - len(points)
            for matchers in wanted:
                answer = await turn.ask(reader.select(tenant, Selection(matchers, start_ms, end_ms), max_samples))
                missing.update(answer.missing)
                looked += await asyncio.to_thread(points_of, answer.value, known, kind, room, counted=counted)
            points += sorted(looked, key=lambda point: -point.time_ms)[:room]
            if len(points) >= limit:
                break
        yield Points(points, tuple(sorted(missing)))


@contextlib.asynccontextmanager
async def query_metrics(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Evaluation]:
    """Evaluate PromQL at every step of a range, by default the last hour.

    Raises Rejected, TooLarge beyond the engine's limits, and what the reader raises.
    """
    parameters = Parameters(pairs, known=("query", "step", *RANGE))
    text = parameters.text("query")
    if not text:
        raise Rejected("missing", where="query", accepted="a PromQL expression")
    query = Query(text, steps_of(parameters, time.time_ns()))
    expr = backend.engine.parse(text, instant=False)
    async with backend.turns.turn("promql", tenant) as turn:
        yield Evaluation(query, await turn.ask(backend.engine.run(tenant, query, expr)))


async def list_names(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> Families:
    """Metric families whose name contains ``match``, by name, without derived ones unless ``derived`` is true.

    Raises Rejected, and what the reader raises.
    """
    parameters = Parameters(pairs, known=("match", "derived"))
    derived, match = parameters.choice("derived", ("true", "false")) == "true", _stem(parameters.text("match").lower())
    async with backend.turns.turn("metrics", tenant) as turn:
        answer = await turn.ask(backend.engine.reader.families(tenant, "", 0))
    found = [family for family in answer.value if match in family.name.lower() and (derived or not is_derived(family))]
    return Families(sorted(found, key=lambda family: family.name), answer.missing)


def is_derived(family: Family) -> bool:
    """Whether tael derives this family. One that applications may send too is recognised by its whole metadata."""
    return re.fullmatch(DERIVED, family.name) is not None or family in llm_series.FAMILIES


def names_of(name: str, families: Iterable[Family]) -> tuple[str, ...]:
    """The families that a name denotes: itself, or the Prometheus names of OpenTelemetry's spelling (``http.server.duration``).

    Empty for an empty name.
    """
    stem = _stem(name)
    if not name or stem == name:
        return (name,) if name else ()
    spelled = [family.name for family in families if _spells(stem, family)]
    return tuple(spelled) or (name, stem)


def _stem(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_:]+", "_", name)


def _spells(stem: str, family: Family) -> bool:
    """Whether a family's name is the stem, followed by at most its unit and a type's suffix."""
    kinds: tuple[Kind, ...] = ("counter", "gauge", "histogram", "summary")
    return family.name.removesuffix("_total") == stem or any(Names().metric(stem, family.unit, kind) == family.name for kind in kinds)


def matcher_of(names: Sequence[str], *, derived: bool = False) -> Matcher:
    """A matcher of these families with their ``_total``, ``_bucket``, ``_sum`` and ``_count``; without names, of all that was sent."""
    if names:
        return Matcher(METRIC_NAME, "=~", f"({'|'.join(map(re.escape, names))}){_OF_A_FAMILY}")
    # The empty alternative also excludes series without a name.
    return Matcher(METRIC_NAME, "!=", "") if derived else Matcher(METRIC_NAME, "!~", f"|{DERIVED}")


def services_of(service: str, *, counted: bool) -> list[tuple[Matcher, ...]]:
    """Matchers of a service's series: those that it sent, and with ``counted`` those counted from its spans, which have no job."""
    if not service:
        return [()]
    sent = (Matcher("job", "=~", f"(.+/)?{re.escape(service)}"),)
    return [sent, (Matcher("job", "=", ""), Matcher("service", "=", service))] if counted else [sent]


def looks(time_range: TimeRange, now_ns: int) -> Iterable[tuple[int, int]]:
    """Ranges of milliseconds that cover the time range from its end backwards, each longer than the one before."""
    # A selection excludes its start and includes its end; a TimeRange does the reverse.
    start_ms = max(-1, time_range.start_ns // 1_000_000 - 1)
    end_ms = min(time_range.end_ns, now_ns) // 1_000_000
    length = _FIRST_LOOK_MS * 2
    while end_ms > start_ms:
        begin = max(start_ms, end_ms - length)
        yield begin, end_ms
        end_ms, length = begin, length * _LOOK_FACTOR


def points_of(samples: Samples, families: Mapping[str, Family], kind: str, limit: int, *, counted: bool) -> list[Point]:
    """The newest ``limit`` samples as points, of one metric type where ``kind`` is not empty; stale markers are left out.

    Series counted from LLM calls are left out unless ``counted``, even those named like a metric that applications send.
    """
    owners = np.repeat(np.arange(len(samples.labels)), np.diff(samples.offsets))
    described = [_family_of(dict(labels).get(METRIC_NAME, ""), families) for labels in samples.labels]
    of_kind = [not kind or _type(family) == kind for family in described]
    wanted = np.array(
        [mine and (counted or not llm_metrics.is_counted(labels)) for mine, labels in zip(of_kind, samples.labels, strict=True)], np.bool_
    )
    kept = np.flatnonzero(~is_stale(samples.values) & wanted[owners]) if len(owners) else owners
    # By time, then by the order of the series, so that repeating a query gives the same answer.
    newest = kept[np.lexsort((owners[kept], -samples.times_ms[kept]))][:limit]
    shapes = documents(samples.histograms) if samples.histograms is not None and samples.histogram is not None else []
    points = []
    for at in newest.tolist():
        cell = -1 if samples.histogram is None else int(samples.histogram[at])
        value, shape = (None, shapes[cell]) if cell >= 0 else (float(samples.values[at]), None)
        points.append(_point(int(samples.times_ms[at]), samples.labels[owners[at]], described[owners[at]], value, shape))
    return points


def _point(time_ms: int, labels: Labels, family: Family | None, value: float | None, shape: Document | None) -> Point:
    own = dict(labels)
    name, service = own.pop(METRIC_NAME, ""), own.get("job", own.get("service", "")).rpartition("/")[2]
    return Point(time_ms, service, name, _type(family), family.unit if family else "", own, value, shape)


def _family_of(name: str, families: Mapping[str, Family]) -> Family | None:
    stems = [name, *(name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix))]
    return next((families[stem] for stem in stems if stem in families), None)


def _type(family: Family | None) -> str:
    return _TYPES.get(family.type, "unknown") if family else "unknown"


def steps_of(parameters: Parameters, now_ns: int) -> Steps:
    """The steps of a range: ``step`` apart, by default about 250 of them. Raises Rejected beyond 11,000."""
    has_range = any(parameters.text(name) for name in RANGE)
    found = parameters.time_range(now_ns=now_ns) if has_range else TimeRange(now_ns - _DEFAULT_RANGE_NS, now_ns)
    start_ms, end_ms = max(0, found.start_ns) // 1_000_000, min(found.end_ns, now_ns) // 1_000_000
    given = parameters.seconds("step")
    step_ms = int(given * 1000) if given is not None else max(_LEAST_STEP_MS, (end_ms - start_ms) // _STEPS)
    if step_ms < 1 or (end_ms - start_ms) // step_ms > _MAX_STEPS:
        raise Rejected(
            f"more than {_MAX_STEPS:,} steps", where="step", accepted="seconds above 0 or a duration such as 5m, at most that many steps"
        )
    # Aligned to the end, so that the newest step is the end itself.
    return Steps(end_ms - max(0, end_ms - start_ms) // step_ms * step_ms, end_ms, step_ms)
