"""Answers of Loki's API, and its errors: plain text with a status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from aiohttp import web

from services.query.freshness import lag_warnings
from tael.errors import Rejected, TooLarge
from tael.logql.errors import MatchingError
from tael.logql.evaluate import Value
from tael.logql.row import Row
from tael.runtime.http import headers_of, refuse
from tael.syntax.literals import decimal
from tael.vectors.values import Scalar, Steps, Vector

CATEGORIZE: Final = "categorize-labels"
_FLAGS: Final = "X-Loki-Response-Encoding-Flags"


def refuse_loki(request: web.Request, error: Exception) -> web.Response:
    """Answer any error as text. A query beyond its limits is a bad request; series that do not match are a 500, as in Loki."""
    if isinstance(error, MatchingError):
        return _text(500, str(error))
    if isinstance(error, TooLarge | Rejected):
        response = _text(400, str(error))
        response.headers.update(headers_of(error))
        return response
    return refuse(request, error, _text)


def _text(status: int, text: str) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/plain", charset="utf-8")


def json_of(body: object) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(body), content_type="application/json", charset="utf-8")


def success(data: object = None, missing: Iterable[str] = ()) -> web.Response:
    """``{"status": "success", "data": …}``; ``data`` is left out where there is none; warns about each shard that is missing or behind."""
    body: dict[str, Any] = {"status": "success"}
    if data is not None:
        body["data"] = data
    return bare(body, missing)


def bare(body: Mapping[str, object], missing: Iterable[str] = ()) -> web.Response:
    """An object without the frame of ``success``; warns in the same way."""
    warnings = [*(f"{name} did not answer: its lines are missing from this result" for name in dict.fromkeys(missing)), *lag_warnings()]
    return json_of({**body, "warnings": warnings} if warnings else body)


def categorized(request: web.Request) -> bool:
    """Whether the client wants labels separated by their origin."""
    return CATEGORIZE in [flag.strip() for flag in request.headers.get(_FLAGS, "").split(",")]


def streams(rows: Sequence[Row], *, categorize: bool) -> dict[str, Any]:
    """The data of a log query: lines grouped by their labels, in the given order."""
    found: dict[frozenset[tuple[str, str]], dict[str, Any]] = {}
    for row in rows:
        labels, value = line(row, categorize=categorize)
        found.setdefault(frozenset(labels.items()), {"stream": labels, "values": []})["values"].append(value)
    return {"resultType": "streams", "result": list(found.values()), **flags(categorize=categorize)}


def line(row: Row, *, categorize: bool) -> tuple[dict[str, str], list[Any]]:
    """The labels of a line's stream, and the line as an element of its ``values``."""
    if not categorize:
        return row.labels(), [str(row.timestamp_ns), row.line]
    extra = {"structuredMetadata": row.metadata, "parsed": row.parsed_labels()}
    return row.stream_labels(), [str(row.timestamp_ns), row.line, {name: held for name, held in extra.items() if held}]


def flags(*, categorize: bool) -> dict[str, list[str]]:
    """The member by which an answer says how its lines are encoded."""
    return {"encodingFlags": [CATEGORIZE]} if categorize else {}


def value_data(value: Value, steps: Steps, *, instant: bool) -> dict[str, Any]:
    """The data of a metric query."""
    times = [seconds(time_ns) for time_ns in steps.times_ms.tolist()]
    if isinstance(value, Scalar):
        texts = [decimal(number) for number in value.values.tolist()]
        if instant:
            return {"resultType": "scalar", "result": [times[0], texts[0]]}
        return {"resultType": "matrix", "result": [{"metric": {}, "values": [list(pair) for pair in zip(times, texts, strict=True)]}]}
    if instant:
        return {"resultType": "vector", "result": [{"metric": labels, "value": points[0]} for labels, points in _series(value, times)]}
    return {"resultType": "matrix", "result": [{"metric": labels, "values": points} for labels, points in _series(value, times)]}


def _series(vector: Vector, times: Sequence[float]) -> Iterable[tuple[dict[str, str], list[list[Any]]]]:
    for labels, values, present in zip(vector.labels, vector.values.tolist(), vector.present.tolist(), strict=True):
        yield dict(labels), [[time, decimal(value)] for time, value, there in zip(times, values, present, strict=True) if there]


def seconds(time_ns: int) -> float:
    """A time in seconds, truncated to milliseconds, as in Prometheus' JSON."""
    return time_ns // 1_000_000 / 1000
