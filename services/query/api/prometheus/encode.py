"""Results of PromQL as the JSON of Prometheus' HTTP API, in chunks: a large matrix is never one string.

Times are seconds with at most three decimals, values strings with the shortest digits that read back as the same number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import add
from typing import Any

import numpy as np
import orjson

from services.query.api.prometheus import cells
from tael.model.histogram import Histograms
from tael.model.series import Bools, Floats, Labels, Longs
from tael.syntax.literals import decimal
from tael.vectors.histograms.documents import documents
from tael.vectors.values import Matrix, Scalar, Steps, Text, Value, Vector

CHUNK_SAMPLES = 20_000


def dumped(value: object) -> str:
    """Compact JSON."""
    return orjson.dumps(value).decode()


def seconds(time_ms: int) -> str:
    """Milliseconds as seconds."""
    whole, rest = divmod(abs(time_ms), 1000)
    sign = "-" if time_ms < 0 else ""
    return f"{sign}{whole}.{rest:03d}".rstrip("0") if rest else f"{sign}{whole}"


def result_type(value: Value, steps: Steps) -> str:
    """Prometheus' name for the type of a result."""
    if steps.step_ms or isinstance(value, Matrix):
        return "matrix"
    return {Scalar: "scalar", Text: "string", Vector: "vector"}[type(value)]


def chunks(value: Value, steps: Steps, limit: int = 0) -> Iterator[bytes]:
    """The JSON of the result in chunks, with at most ``limit`` series where that is not 0."""
    match value:
        case Scalar(values=values) if steps.step_ms:
            one = Vector([()], values[None, :], np.ones((1, len(values)), np.bool_))
            yield from _series(one, steps, 1)
        case Scalar(values=values):
            yield f'[{seconds(steps.start_ms)},"{decimal(float(values[0]))}"]'.encode()
        case Text(value=text):
            yield f"[{seconds(steps.start_ms)},{dumped(text)}]".encode()
        case Matrix(samples=samples):
            yield from _list((_samples(value, row) for row in range(len(samples.labels))), limit)
        case Vector() if steps.step_ms:
            yield from _series(value, steps, limit)
        case Vector():
            yield from _list(_instants(value, steps), limit)


def count(value: Value) -> tuple[int, int]:
    """How many series a result has, and how many samples."""
    if isinstance(value, Vector):
        return len(value.labels), int(np.count_nonzero(value.present))
    if isinstance(value, Matrix):
        return len(value.samples.labels), len(value.samples.times_ms)
    return 1, len(value.values) if isinstance(value, Scalar) else 1


def _list(items: Iterator[tuple[bytes, int]], limit: int) -> Iterator[bytes]:
    """A JSON array of items, in chunks of about ``CHUNK_SAMPLES``; each item comes with its number of samples."""
    yield b"["
    waiting: list[bytes] = []
    separator, size = b"", 0
    for index, (item, samples) in enumerate(items):
        if limit and index == limit:
            break
        waiting.append(item)
        # One more for the labels, so that many series without samples are cut into chunks too.
        size += samples + 1
        if size >= CHUNK_SAMPLES:
            yield separator + b",".join(waiting)
            separator, size = b",", 0
            waiting.clear()
    yield (separator + b",".join(waiting) if waiting else b"") + b"]"


def _metric(labels: Labels) -> str:
    return dumped(dict(labels))


def _instants(vector: Vector, steps: Steps) -> Iterator[tuple[bytes, int]]:
    at = seconds(steps.start_ms)
    texts = cells.texts(vector.values[:, 0])
    places = [-1] * len(texts) if vector.cells is None else vector.cells[:, 0].tolist()
    for labels, text, place in zip(vector.labels, texts, places, strict=True):
        if place >= 0 and vector.histograms is not None:
            [document] = documents(vector.histograms.take(np.array([place])))
            yield f'{{"metric":{_metric(labels)},"histogram":[{at},{dumped(document)}]}}'.encode(), 1
        else:
            yield f'{{"metric":{_metric(labels)},"value":[{at},"{text}"]}}'.encode(), 1


def _series(vector: Vector, steps: Steps, limit: int) -> Iterator[bytes]:
    """The series of a matrix, ordered by labels as in Prometheus."""
    at = [seconds(time) for time in steps.times_ms.tolist()]
    order = sorted(range(len(vector.labels)), key=vector.labels.__getitem__)[: limit or None]
    if vector.cells is not None:
        begins = [f'{time},"' for time in at]
        yield from _list(
            (
                _row(vector.labels[row], begins, vector.values[row], vector.present[row], vector.cells[row], vector.histograms)
                for row in order
            ),
            0,
        )
        return
    times = cells.times(at)
    together = max(1, CHUNK_SAMPLES // (steps.count + 1))
    yield b"["
    for start in range(0, len(order), together):
        block = order[start : start + together]
        yield b"".join(_floats([vector.labels[row] for row in block], times, vector.values[block], vector.present[block], first=not start))
    yield b"]"


def _floats(labels: Sequence[Labels], times: cells.Cells, values: Floats, present: Bools, *, first: bool) -> Iterator[bytes | memoryview]:
    """Series without histograms; only the ``first`` of an answer has no separator before it."""
    texts = iter(cells.rows(times, values, present))
    filled = np.count_nonzero(present, axis=1)
    for row, own in enumerate(labels):
        yield b'{"metric":' if first and not row else b',{"metric":'
        yield orjson.dumps(dict(own))
        if filled[row]:
            yield b',"values":['
            yield next(texts)
            yield b'"]]'
        yield b"}"


def _samples(matrix: Matrix, row: int) -> tuple[bytes, int]:
    samples = matrix.samples
    begin, end = int(samples.offsets[row]), int(samples.offsets[row + 1])
    places = None if samples.histogram is None else samples.histogram[begin:end]
    begins = [f'{seconds(time)},"' for time in samples.times_ms[begin:end].tolist()]
    return _row(samples.labels[row], begins, samples.values[begin:end], np.ones(end - begin, np.bool_), places, samples.histograms)


def _row(
    labels: Labels, begins: Sequence[str], values: Floats, present: Bools, places: Longs | None, histograms: Histograms | None
) -> tuple[bytes, int]:
    text = f'{{"metric":{_metric(labels)}'
    floats = present if places is None else present & (places < 0)
    if floats.any():
        at = begins if floats.all() else [begins[column] for column in np.flatnonzero(floats).tolist()]
        pairs = '"],['.join(map(add, at, cells.texts(values[floats])))
        text += f',"values":[[{pairs}"]]'
    if places is not None and histograms is not None and (held := np.flatnonzero(present & (places >= 0))).size:
        written = documents(histograms.take(places[held]))
        pairs = ",".join(f"[{begins[column][:-1]}{dumped(document)}]" for column, document in zip(held.tolist(), written, strict=True))
        text += f',"histograms":[{pairs}]'
    return f"{text}}}".encode(), int(np.count_nonzero(present))


def envelope(kind: str, warnings: list[str], infos: list[str], stats: dict[str, Any] | None) -> tuple[bytes, bytes]:
    """The parts of the answer before and after the result."""
    behind = "" if stats is None else f',"stats":{dumped(stats)}'
    behind += "}"
    behind += f',"warnings":{dumped(warnings)}' if warnings else ""
    behind += f',"infos":{dumped(infos)}' if infos else ""
    return f'{{"status":"success","data":{{"resultType":"{kind}","result":'.encode(), f"{behind}}}".encode()
