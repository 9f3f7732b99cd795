"""Results of PromQL as the JSON of Prometheus' HTTP API, in chunks: a large matrix is never one string.

Times are seconds with at most three decimals, values strings with the shortest digits that read back as the same number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import add
from typing import Any

import numpy as np
import orjson

from tael.model.histogram import Histograms
from tael.model.series import Bools, Floats, Labels, Longs
from tael.syntax.literals import compact, decimal
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


def numbers(values: Floats) -> list[str]:
    """Each number as text: positional, with an exponent below 1e-6 and from 1e21 on. Only those that orjson formats differently are
    formatted singly.
    """
    if not len(values):
        return []
    if _are_integers(values):
        return _written(values.astype(np.int64)).split(",")
    texts = (_written(values) + ",").replace(".0,", ",")[:-1].split(",")
    size = np.abs(values)
    # In this range orjson writes the same text as Prometheus; outside, it switches to exponents sooner.
    plain = (size >= 1e-4) & (size < 1e16) | (size == 0)
    for row in np.flatnonzero(~plain).tolist():
        texts[row] = compact(float(values[row]))
    return texts


def _are_integers(values: Floats) -> bool:
    """Whether all are integers that a float represents exactly (below 2^53), and none is -0."""
    exact = np.abs(values).max() < 2**53 and bool((values == np.trunc(values)).all())
    return exact and not np.signbit(values[values == 0]).any()


def _written(values: Floats | Longs) -> str:
    """The numbers as orjson formats them, separated by commas."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode()


def result_type(value: Value, steps: Steps) -> str:
    """Prometheus' name for the type of a result."""
    if steps.step_ms or isinstance(value, Matrix):
        return "matrix"
    return {Scalar: "scalar", Text: "string", Vector: "vector"}[type(value)]


def chunks(value: Value, steps: Steps, limit: int = 0) -> Iterator[str]:
    """The JSON of the result in chunks, with at most ``limit`` series where that is not 0."""
    match value:
        case Scalar(values=values) if steps.step_ms:
            one = Vector([()], values[None, :], np.ones((1, len(values)), np.bool_))
            yield from _list(_series(one, steps), 1)
        case Scalar(values=values):
            yield f'[{seconds(steps.start_ms)},"{decimal(float(values[0]))}"]'
        case Text(value=text):
            yield f"[{seconds(steps.start_ms)},{dumped(text)}]"
        case Matrix(samples=samples):
            yield from _list((_samples(value, row) for row in range(len(samples.labels))), limit)
        case Vector() if steps.step_ms:
            yield from _list(_series(value, steps), limit)
        case Vector():
            yield from _list(_instants(value, steps), limit)


def count(value: Value) -> tuple[int, int]:
    """How many series a result has, and how many samples."""
    if isinstance(value, Vector):
        return len(value.labels), int(np.count_nonzero(value.present))
    if isinstance(value, Matrix):
        return len(value.samples.labels), len(value.samples.times_ms)
    return 1, len(value.values) if isinstance(value, Scalar) else 1


def _list(items: Iterator[tuple[str, int]], limit: int) -> Iterator[str]:
    """A JSON array of items, in chunks of about ``CHUNK_SAMPLES``; each item comes with its number of samples."""
    yield "["
    waiting: list[str] = []
    separator, size = "", 0
    for index, (item, samples) in enumerate(items):
        if limit and index == limit:
            break
        waiting.append(item)
        # One more for the labels, so that many series without samples are cut into chunks too.
        size += samples + 1
        if size >= CHUNK_SAMPLES:
            yield separator + ",".join(waiting)
            separator, size = ",", 0
            waiting.clear()
    yield (separator + ",".join(waiting) if waiting else "") + "]"


def _metric(labels: Labels) -> str:
    return dumped(dict(labels))


def _instants(vector: Vector, steps: Steps) -> Iterator[tuple[str, int]]:
    at = seconds(steps.start_ms)
    texts = numbers(vector.values[:, 0])
    cells = [-1] * len(texts) if vector.cells is None else vector.cells[:, 0].tolist()
    for labels, text, cell in zip(vector.labels, texts, cells, strict=True):
        if cell >= 0 and vector.histograms is not None:
            [document] = documents(vector.histograms.take(np.array([cell])))
            yield f'{{"metric":{_metric(labels)},"histogram":[{at},{dumped(document)}]}}', 1
        else:
            yield f'{{"metric":{_metric(labels)},"value":[{at},"{text}"]}}', 1


def _series(vector: Vector, steps: Steps) -> Iterator[tuple[str, int]]:
    """The series of a matrix, ordered by labels as in Prometheus."""
    begins = [f'{seconds(time)},"' for time in steps.times_ms.tolist()]
    order = np.array(sorted(range(len(vector.labels)), key=vector.labels.__getitem__), np.int64)
    together = max(1, CHUNK_SAMPLES // steps.count)
    for block in (order[start : start + together] for start in range(0, len(order), together)):
        if vector.cells is None:
            yield from _floats([vector.labels[row] for row in block.tolist()], begins, vector.values[block], vector.present[block])
            continue
        for row in block.tolist():
            yield _row(vector.labels[row], begins, vector.values[row], vector.present[row], vector.cells[row], vector.histograms)


def _floats(labels: Sequence[Labels], begins: Sequence[str], values: Floats, present: Bools) -> Iterator[tuple[str, int]]:
    """Series without histograms; all their numbers are formatted in one call."""
    texts, at = numbers(values[present]), 0
    pieces = [""] * (2 * len(begins))
    pieces[::2] = [('"],[' if column else "") + begin for column, begin in enumerate(begins)]
    for own, there, count in zip(labels, present, np.count_nonzero(present, axis=1).tolist(), strict=True):
        # Most series have a sample at every step; slice assignment builds such a row without a call for each sample.
        if count == len(begins):
            pieces[1::2] = texts[at : at + count]
            pairs = "".join(pieces)
        else:
            pairs = '"],['.join(map(add, [begins[column] for column in np.flatnonzero(there).tolist()], texts[at : at + count]))
        at += count
        yield f'{{"metric":{_metric(own)}' + (f',"values":[[{pairs}"]]}}' if count else "}"), count


def _samples(matrix: Matrix, row: int) -> tuple[str, int]:
    samples = matrix.samples
    begin, end = int(samples.offsets[row]), int(samples.offsets[row + 1])
    cells = None if samples.histogram is None else samples.histogram[begin:end]
    begins = [f'{seconds(time)},"' for time in samples.times_ms[begin:end].tolist()]
    return _row(samples.labels[row], begins, samples.values[begin:end], np.ones(end - begin, np.bool_), cells, samples.histograms)


def _row(
    labels: Labels, begins: Sequence[str], values: Floats, present: Bools, cells: Longs | None, histograms: Histograms | None
) -> tuple[str, int]:
    text = f'{{"metric":{_metric(labels)}'
    floats = present if cells is None else present & (cells < 0)
    if floats.any():
        at = begins if floats.all() else [begins[column] for column in np.flatnonzero(floats).tolist()]
        pairs = '"],['.join(map(add, at, numbers(values[floats])))
        text += f',"values":[[{pairs}"]]'
    if cells is not None and histograms is not None and (held := np.flatnonzero(present & (cells >= 0))).size:
        written = documents(histograms.take(cells[held]))
        pairs = ",".join(f"[{begins[column][:-1]}{dumped(document)}]" for column, document in zip(held.tolist(), written, strict=True))
        text += f',"histograms":[{pairs}]'
    return text + "}", int(np.count_nonzero(present))


def envelope(kind: str, warnings: list[str], infos: list[str], stats: dict[str, Any] | None) -> tuple[str, str]:
    """The parts of the answer before and after the result."""
    behind = "" if stats is None else f',"stats":{dumped(stats)}'
    behind += "}"
    behind += f',"warnings":{dumped(warnings)}' if warnings else ""
    behind += f',"infos":{dumped(infos)}' if infos else ""
    return f'{{"status":"success","data":{{"resultType":"{kind}","result":', behind + "}"
