"""Prometheus' remote read: samples of the series that a query's matchers select, as protobuf in snappy's block format.

Source: Prometheus' remote read API documentation. The answer always has samples, which every client accepts; chunks are Prometheus' storage
format.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import cramjam
import numpy as np
from aiohttp import web
from google.protobuf.message import DecodeError

from services.query.api.prometheus.parameters import EARLIEST_MS, LATEST_MS
from services.query.api.tenant import tenant_of
from services.query.turns import Turns
from tael.errors import Rejected, TooLarge, Unavailable
from tael.metrics import snappy
from tael.model.histogram import Buckets, Histograms
from tael.model.patterns import compiled
from tael.model.series import TOO_MANY_SAMPLES, Matcher, MatchOp, Samples, Selection
from tael.pb.remote_read_pb2 import LabelMatcher, Query, QueryResult, ReadRequest, ReadResponse
from tael.pb.remote_write_pb2 import Histogram, Label, Sample, SeriesV1, Span
from tael.storage.api import Answer, SeriesReader

MAX_REQUEST_BYTES = 1 << 20
_OPERATORS: dict[int, MatchOp] = {LabelMatcher.EQ: "=", LabelMatcher.NEQ: "!=", LabelMatcher.RE: "=~", LabelMatcher.NRE: "!~"}
_HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}


class RemoteRead:
    """The handler, over one reader. ``max_samples`` limits all queries of one request together."""

    def __init__(self, series: SeriesReader, turns: Turns, max_samples: int) -> None:
        self._series = series
        self._turns = turns
        self._max_samples = max_samples

    async def read(self, request: web.Request) -> web.StreamResponse:
        """``POST /api/v1/read``. A missing shard fails the request, because the answer cannot say that it is partial."""
        queries = decode(await request.read())
        tenant, answers, left = tenant_of(request), [], self._max_samples
        async with self._turns.turn("prometheus read", tenant) as turn:
            for query in queries:
                answer: Answer[Samples] = await turn.ask(self._series.select(tenant, selection_of(query), left))
                if answer.missing:
                    raise Unavailable(f"{', '.join(answer.missing)} did not answer")
                # By size: a native histogram takes the memory of many samples.
                left -= answer.value.room
                if left < 0:
                    raise TooLarge(TOO_MANY_SAMPLES)
                answers.append(answer.value)
        return web.Response(body=await asyncio.to_thread(encode, answers), headers=_HEADERS)


def decode(body: bytes) -> list[Query]:
    """The queries of a request. Raises Rejected for a malformed one, TooLarge over a megabyte."""
    if snappy.unpacked_bytes(body) > MAX_REQUEST_BYTES:
        raise TooLarge("the request is too large", where="body", accepted=f"at most {MAX_REQUEST_BYTES} bytes, uncompressed")
    try:
        request = ReadRequest.FromString(snappy.unpack(body))
    except DecodeError:
        raise Rejected("the body is not a ReadRequest", where="body", accepted="prometheus.ReadRequest as protobuf") from None
    return list(request.queries)


def selection_of(query: Query) -> Selection:
    """The selection of a query, whose range includes both ends. Raises Rejected for a malformed matcher."""
    matchers = []
    for wire in query.matchers:
        if wire.type not in _OPERATORS:
            raise Rejected(f"{wire.type} is not a matcher type", where="matchers", accepted="0 to 3")
        matcher = Matcher(wire.name, _OPERATORS[wire.type], wire.value)
        if matcher.op in ("=~", "!~"):
            compiled(matcher.value)
        matchers.append(matcher)
    start, end = max(query.start_timestamp_ms, EARLIEST_MS), min(query.end_timestamp_ms, LATEST_MS)
    # A selection excludes its start, remote read includes it.
    return Selection(tuple(matchers), start - 1, end)


def encode(answers: Sequence[Samples]) -> bytes:
    """The answers as a compressed response, series ordered by labels."""
    response = ReadResponse()
    for samples in answers:
        order = sorted(range(len(samples.labels)), key=samples.labels.__getitem__)
        response.results.append(QueryResult(timeseries=[_series(samples, row).SerializeToString() for row in order]))
    return bytes(cramjam.snappy.compress_raw(response.SerializeToString()))


def _series(samples: Samples, row: int) -> SeriesV1:
    begin, end = int(samples.offsets[row]), int(samples.offsets[row + 1])
    times, values = samples.times_ms[begin:end], samples.values[begin:end]
    written = SeriesV1(labels=[Label(name=name, value=value) for name, value in samples.labels[row]])
    floats = np.ones(end - begin, np.bool_)
    if samples.histogram is not None and samples.histograms is not None:
        cells = samples.histogram[begin:end]
        floats = cells < 0
        held = np.flatnonzero(~floats)
        several = samples.histograms.take(cells[held])
        written.histograms.extend(_histogram(several, index, time) for index, time in enumerate(times[held].tolist()))
    pairs = zip(times[floats].tolist(), values[floats].tolist(), strict=True)
    written.samples.extend(Sample(timestamp=time, value=value) for time, value in pairs)
    return written


def _histogram(several: Histograms, row: int, time_ms: int) -> Histogram:
    one = several.take(np.array([row]))
    layout = int(one.bounds[0])
    return Histogram(
        # Always a float histogram: its counts are absolute, while an integer histogram would need deltas.
        count_float=float(one.count[0]),
        sum=float(one.sum[0]),
        schema=int(one.schema[0]),
        zero_threshold=float(one.zero_threshold[0]),
        zero_count_float=float(one.zero_count[0]),
        positive_spans=_spans(one.positive),
        positive_counts=one.positive.counts.tolist(),
        negative_spans=_spans(one.negative),
        negative_counts=one.negative.counts.tolist(),
        reset_hint=int(one.reset_hint[0]),
        timestamp=time_ms,
        custom_values=() if layout < 0 else one.layouts[layout],
    )


def _spans(buckets: Buckets) -> list[Span]:
    """The runs of consecutive buckets, each with its distance from the end of the one before."""
    spans: list[Span] = []
    following = 0
    for index in buckets.index.tolist():
        if spans and index == following:
            spans[-1].length += 1
        else:
            spans.append(Span(offset=index - following, length=1))
        following = index + 1
    return spans
