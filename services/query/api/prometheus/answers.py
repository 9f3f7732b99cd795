"""Answers of Prometheus' HTTP API: small ones at once, large ones streamed as they are rendered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from aiohttp import web

from services.query.api.compress import takes_gzip
from services.query.api.prometheus.encode import chunks, count, dumped, envelope, result_type
from services.query.freshness import lag_warnings
from services.query.promql.engine import Outcome
from tael.runtime.tasks import both
from tael.storage.api import Answer
from tael.vectors.values import Steps

T = TypeVar("T")

TRUNCATED = "results truncated due to limit"
MAX_NOTES = 10
STREAMED_SAMPLES = 50_000
"""Answers with more samples are streamed."""
LISTED_AT_ONCE = 5_000
"""Longer lists of series, names and values are streamed, in chunks of this many."""
STALLED_SECONDS = 60.0
"""A client that reads nothing of its answer for this long is disconnected, because the answer holds the query's turn."""


def success(data: object, warnings: Sequence[str] = ()) -> web.Response:
    """A successful answer with its warnings."""
    body: dict[str, Any] = {"status": "success", "data": data}
    if warnings:
        body["warnings"] = list(warnings)
    return web.Response(text=dumped(body), content_type="application/json")


async def listed(request: web.Request, answer: Answer[list[T]], limit: int, shown: Callable[[T], object]) -> web.StreamResponse:
    """A list of at most ``limit`` items, each as ``shown``; a warning says when there are more."""
    warnings = missing_warnings(answer.missing)
    found = answer.value[:limit]
    if len(answer.value) > limit:
        warnings.append(TRUNCATED)
    if len(found) <= LISTED_AT_ONCE:
        return success([shown(item) for item in found], warnings)
    behind = f'],"warnings":{dumped(warnings)}}}' if warnings else "]}"
    return await _streamed(request, b'{"status":"success","data":[', _items(found, shown), behind.encode())


def _items(found: Sequence[T], shown: Callable[[T], object]) -> Iterator[bytes]:
    for first in range(0, len(found), LISTED_AT_ONCE):
        part = dumped([shown(item) for item in found[first : first + LISTED_AT_ONCE]])[1:-1]
        yield (f",{part}" if first else part).encode()


async def evaluated(request: web.Request, outcome: Outcome, steps: Steps, limit: int, stats: dict[str, Any] | None) -> web.StreamResponse:
    """The answer with a query's value, of at most ``limit`` series where that is not 0."""
    value, notes = outcome.evaluated.value, outcome.evaluated.notes
    series, samples = count(value)
    warnings = missing_warnings(outcome.missing) + _bounded(notes.warnings, "warning")
    if limit and series > limit:
        warnings.append(TRUNCATED)
    before, behind = envelope(result_type(value, steps), warnings, _bounded(notes.infos, "info"), stats)
    parts = chunks(value, steps, limit)
    if samples <= STREAMED_SAMPLES:
        return web.Response(body=b"".join([before, *parts, behind]), content_type="application/json", charset="utf-8")
    return await _streamed(request, before, parts, behind)


async def _streamed(request: web.Request, before: bytes, parts: Iterator[bytes], behind: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8", "Vary": "Accept-Encoding"})
    if takes_gzip(request.headers.get("Accept-Encoding", "")):
        response.enable_compression(web.ContentCoding.gzip)
    await response.prepare(request)
    await _write(response, before)
    # One chunk is a millisecond of work; in a thread, so that other queries continue, and while the one before it is sent.
    part = await asyncio.to_thread(next, parts, None)
    while part is not None:
        _, part = await both(_write(response, part), asyncio.to_thread(next, parts, None), name="render")
    await _write(response, behind)
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, part: bytes) -> None:
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await response.write(part)
    except TimeoutError:
        raise ConnectionResetError(f"the client read nothing for {STALLED_SECONDS:g} s") from None


def missing_warnings(missing: Iterable[str]) -> list[str]:
    """One warning for each shard that did not answer, and for each that is behind."""
    return [*(f"{name} did not answer: its series are missing from this result" for name in missing), *lag_warnings()]


def _bounded(notes: list[str], kind: str) -> list[str]:
    if len(notes) <= MAX_NOTES:
        return notes
    return [*notes[:MAX_NOTES], f"{len(notes) - MAX_NOTES} more {kind} annotations omitted"]


def stats_of(outcome: Outcome, queued: float, ran: float) -> dict[str, Any]:
    """The statistics for ``stats``: times in seconds, and samples that were read (for grids that shards evaluated, their cells)."""
    timings = {
        "evalTotalTime": ran,
        "resultSortTime": 0,
        "queryPreparationTime": 0,
        "innerEvalTime": ran,
        "execQueueTime": queued,
        "execTotalTime": queued + ran,
    }
    return {"timings": timings, "samples": {"totalQueryableSamples": outcome.samples, "peakSamples": outcome.samples}}
