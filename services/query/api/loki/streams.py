"""Loki's endpoints for streams: labels and their values, series, and volumes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from services.query.api.family import Route
from services.query.api.loki.answers import bare, seconds, success
from services.query.api.loki.parameters import DEFAULT_LIMIT, Form, read
from services.query.api.loki.stats import stats
from services.query.api.tenant import tenant_of
from services.query.logql.engine import LogqlEngine, Stream
from services.query.turns import Allowance, Turns
from tael.errors import Rejected
from tael.logql.parse import parse_selector
from tael.model.series import Matcher
from tael.model.time import TimeRange
from tael.storage.api import Answer
from tael.storage.work import Work, measured

_ALWAYS_SHOWN: Final = ("cluster", "namespace", "instance", "pod")
_ID: Final = re.compile(r"[+-]?\d+(?:\.\d+)?|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Streams:
    """The handlers, over one engine."""

    def __init__(self, engine: LogqlEngine, turns: Turns) -> None:
        self._engine, self._turns = engine, turns

    def routes(self) -> list[Route]:
        """Every route; labels and series also take POST with a form."""
        handlers = {
            "labels": self.labels,
            "label": self.labels,
            "label/{name}/values": self.values,
            "series": self.series,
            "index/stats": self.stats,
            "index/volume": self.volume,
            "index/volume_range": self.volume_range,
            "detected_labels": self.detected_labels,
        }
        routes = [Route("GET", f"/loki/api/v1/{path}", handler) for path, handler in handlers.items()]
        return [*routes, *(Route("POST", f"/loki/api/v1/{path}", handlers[path]) for path in ("labels", "series"))]

    async def labels(self, request: web.Request) -> web.StreamResponse:
        """The names of the streams' labels."""
        answer = await self._labels(request, await read(request))
        names = {name for labels in answer.value for name in labels}
        return success(sorted(names) or None, answer.missing)

    async def values(self, request: web.Request) -> web.StreamResponse:
        """The values of one label; no ``data`` for an unknown label."""
        name = request.match_info["name"]
        answer = await self._labels(request, await read(request))
        found = {labels[name] for labels in answer.value if name in labels}
        return success(sorted(found) or None, answer.missing)

    async def series(self, request: web.Request) -> web.StreamResponse:
        """The streams that any ``match[]`` selects; all streams without one."""
        form = await read(request)
        selectors = [_of_all(text) for text in (*form.fields.get("match[]", ()), *form.fields.get("match", ()))] or [()]
        found: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        missing: dict[str, None] = {}
        allowance = self._turns.allowance()
        for matchers in selectors:
            answer = await self._labels_of(request, form, matchers, allowance)
            found |= {tuple(sorted(labels.items())): labels for labels in answer.value}
            missing |= dict.fromkeys(answer.missing)
        return success(list(found.values()), missing)

    async def stats(self, request: web.Request) -> web.StreamResponse:
        """The number of streams, lines and bytes. There are no chunks: each stream counts as one."""
        form = await read(request)
        answer = await self._found(request, parse_selector(form.text("query")), form.bounds())
        streams = len(answer.value)
        sizes = {"bytes": sum(stream.bytes for stream in answer.value), "entries": sum(stream.count for stream in answer.value)}
        return bare({"streams": streams, "chunks": streams, **sizes}, answer.missing)

    async def volume(self, request: web.Request) -> web.StreamResponse:
        """The bytes of streams, by labels."""
        form = await read(request)
        bounds, matchers = form.bounds(), _of_all(form.text("query"))
        volume, allowance = _Volume(form, matchers), self._turns.allowance()
        with measured() as work:
            async with self._turns.turn("loki streams", tenant_of(request), allowance) as turn:
                answer = await turn.ask(self._engine.volumes(tenant_of(request), matchers, bounds, volume.names))
        at = seconds(bounds.end_ns)
        sizes = _sizes(answer.value, volume)
        ranked = sorted(sizes.items(), key=lambda item: (-sum(item[1].values()), item[0]))[: _limit(form)]
        result = [{"metric": dict(labels), "value": [at, str(sum(slots.values()))]} for labels, slots in ranked]
        cost = self._cost(work, allowance, len(result))
        return success({"resultType": "vector", "result": result, "stats": cost}, answer.missing)

    async def volume_range(self, request: web.Request) -> web.StreamResponse:
        """The bytes of lines, step by step; a point covers the time before it."""
        form = await read(request)
        bounds, matchers = form.bounds(), _of_all(form.text("query"))
        step, volume = form.step_ns(bounds), _Volume(form, matchers)
        sizes: dict[tuple[tuple[str, str], ...], dict[int, int]] = {}
        missing: dict[str, None] = {}
        allowance = self._turns.allowance()
        with measured() as work:
            for part in _split(bounds, step):
                answer = await self._found(request, matchers, part, step, volume.names, allowance)
                missing |= dict.fromkeys(answer.missing)
                for labels, slots in _sizes(answer.value, volume).items():
                    sizes.setdefault(labels, {}).update({part.start_ns // step + slot: size for slot, size in slots.items()})
        ranked = sorted(sizes.items(), key=lambda item: (-sum(item[1].values()), item[0]))[: _limit(form)]

        def at(slot: int) -> float:
            # As in Loki: a point is one millisecond before the next step begins, and the last one at the end of the range.
            end = (slot + 1) * step
            return seconds(end - 1_000_000 if end < bounds.end_ns else bounds.end_ns)

        result: list[dict[str, Any]] = [
            {"metric": dict(labels), "values": [[at(slot), str(slots[slot])] for slot in sorted(slots)]} for labels, slots in ranked
        ]
        cost = self._cost(work, allowance, sum(len(series["values"]) for series in result))
        return success({"resultType": "matrix", "result": result, "stats": cost}, missing)

    def _cost(self, work: Work, left: Allowance, entries: int) -> dict[str, Any]:
        queued, ran = self._turns.spent(left)
        return stats(work, queued_seconds=queued, ran_seconds=ran, entries=entries)

    async def detected_labels(self, request: web.Request) -> web.StreamResponse:
        """The streams' labels with their number of values, without labels that only hold ids."""
        answer = await self._labels(request, await read(request))
        found: dict[str, set[str]] = {}
        for labels in answer.value:
            for name, value in labels.items():
                found.setdefault(name, set()).add(value)
        shown = {name: values for name, values in found.items() if name in _ALWAYS_SHOWN or not all(map(_ID.fullmatch, values))}
        described = [{"label": name, "cardinality": len(values)} for name, values in sorted(shown.items())]
        return bare({"detectedLabels": described} if described else {}, answer.missing)

    async def _labels(self, request: web.Request, form: Form) -> Answer[list[dict[str, str]]]:
        query = form.text("query")
        return await self._labels_of(request, form, parse_selector(query) if query else ())

    async def _labels_of(
        self, request: web.Request, form: Form, matchers: tuple[Matcher, ...], allowance: Allowance | None = None
    ) -> Answer[list[dict[str, str]]]:
        bounds = form.bounds()
        async with self._turns.turn("loki streams", tenant_of(request), allowance) as turn:
            return await turn.ask(self._engine.labels(tenant_of(request), matchers, bounds))

    async def _found(
        self,
        request: web.Request,
        matchers: tuple[Matcher, ...],
        bounds: TimeRange,
        slot_ns: int = 0,
        names: Collection[str] | None = None,
        allowance: Allowance | None = None,
    ) -> Answer[list[Stream]]:
        async with self._turns.turn("loki streams", tenant_of(request), allowance) as turn:
            return await turn.ask(self._engine.streams(tenant_of(request), matchers, bounds, slot_ns, names))


def _split(bounds: TimeRange, step_ns: int) -> list[TimeRange]:
    """The range up to where a step begins, counted from 1970, and from there; so that points stay where they are when the range moves."""
    first = -(-bounds.start_ns // step_ns) * step_ns
    if not bounds.start_ns < first < bounds.end_ns:
        return [bounds]
    return [TimeRange(bounds.start_ns, first), TimeRange(first, bounds.end_ns)]


def _limit(form: Form) -> int:
    """How many volumes are wanted; 0 is as many as where nothing is said."""
    return DEFAULT_LIMIT if form.text("limit") == "0" else form.count("limit", DEFAULT_LIMIT)


def _of_all(query: str) -> tuple[Matcher, ...]:
    """A selector for which ``{}`` is everything, as for series and volumes alone."""
    return () if query.replace(" ", "") == "{}" else parse_selector(query)


class _Volume:
    """The labels by which volumes are grouped: the requested ones, else those that the selector names, else all."""

    def __init__(self, form: Form, matchers: Iterable[Matcher]) -> None:
        self._names = form.text("targetLabels").split(",") if form.text("targetLabels") else []
        self._by_name = form.text("aggregateBy") == "labels"
        if form.text("aggregateBy") not in ("", "series", "labels"):
            raise Rejected('invalid aggregation option: it must be "series" or "labels"')
        named = [matcher.name for matcher in matchers]
        # As in Loki: what the selector says of a label is not narrowed to streams that have it.
        self._needed = set(self._names) - set(named)
        if not self._names and not self._by_name:
            self._names = named

    @property
    def names(self) -> Collection[str] | None:
        """The labels to group by, None for all."""
        return self._names or None

    def keys(self, labels: Mapping[str, str]) -> list[tuple[tuple[str, str], ...]]:
        """The keys of the groups to which a stream with these labels is added."""
        if not self._needed <= labels.keys():
            return []
        named = {name: value for name, value in labels.items() if not self._names or name in self._names}
        if self._by_name:
            return [((name, ""),) for name in named]
        return [tuple(sorted(named.items()))] if named or self._names else []


def _sizes(streams: Iterable[Stream], volume: _Volume) -> dict[tuple[tuple[str, str], ...], dict[int, int]]:
    found: dict[tuple[tuple[str, str], ...], dict[int, int]] = {}
    for stream in streams:
        for key in volume.keys(stream.labels):
            slots = found.setdefault(key, {})
            slots[stream.slot] = slots.get(stream.slot, 0) + stream.bytes
    return found
