"""Damaged bodies of the protocols that are not OTLP's: a status that says what to do, a process that lives, and neighbours that are stored.

What of a damaged body is taken for good must be such as the hot tier can read: a body that it refuses would be a dead letter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import aiohttp
import cramjam
import pytest
from prometheus_client import CollectorRegistry

from services.ingest.pipeline import Pipeline
from services.ingest.receivers import datadog
from tael.cluster.shard import Router
from tael.pb.metrics_pb2 import MetricBatch
from tael.pb.remote_write_pb2 import Histogram
from tests.support.datadog import RawTraces, as_json, as_msgpack, as_v05, raw_span
from tests.support.metrics import T0_MS
from tests.support.otlp import MemoryLog, receiver_settings, receiving
from tests.unit.test_remote_write import Series, integer_histogram, version_1, version_2

ROUNDS = 300


def damaged(body: bytes, chance: random.Random) -> bytes:
    """A few bytes replaced, and sometimes the end cut off."""
    changed = bytearray(body)
    for _ in range(chance.randrange(1, 6)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randrange(len(changed))] if chance.random() < 0.2 else changed)


def series(marker: str) -> list[Series]:
    """Everything that a request can hold."""
    named = (("__name__", "latency"), ("job", marker))
    return [
        Series((("__name__", "up"), ("job", marker)), [(T0_MS + n, float(n)) for n in range(5)], metadata=(2, "Whether it is up.", "")),
        Series(named, (), [integer_histogram(), Histogram(count_float=1, sum=1, zero_count_float=1, timestamp=T0_MS + 1)]),
        Series(named, [(T0_MS, 1.5)], exemplars=[((("trace_id", "5b8efff798038103d269b633813fc60c"),), 0.5)]),
    ]


def batches(log: MemoryLog) -> Iterator[MetricBatch]:
    for request in log.requests:
        yield MetricBatch.FromString(request)


@pytest.mark.parametrize(
    ("encode", "proto"), [(version_1, "prometheus.WriteRequest"), (version_2, "io.prometheus.write.v2.Request")], ids=["1.0", "2.0"]
)
async def test_remote_write(encode: Callable[[list[Series]], bytes], proto: str) -> None:
    """Damaged before it is compressed, or after."""
    chance = random.Random(proto)
    headers = {"Content-Encoding": "snappy", "Content-Type": f"application/x-protobuf;proto={proto}"}
    async with receiving(shards=2) as r, aiohttp.ClientSession(headers=headers) as http:

        async def send(body: bytes) -> int:
            async with http.post(f"http://{r.http}/api/v1/write", data=body) as answer:
                return answer.status

        def packed(body: bytes) -> bytes:
            return bytes(cramjam.snappy.compress_raw(body))

        statuses = set()
        for turn in range(ROUNDS):
            whole = encode(series(f"fuzz{turn}"))
            statuses.add(await send(packed(damaged(whole, chance)) if turn % 4 else damaged(packed(whole), chance)))
        assert statuses == {204, 400}
        assert await send(packed(encode(series("neighbour")))) == 204
        assert any(b"neighbour" in request for request in r.log.requests)
        for batch in batches(r.log):
            assert len(batch.metric) == len(batch.series) == len(batch.time_ms) == len(batch.value)
            for histogram in batch.histograms:
                assert len(histogram.positive_index) == len(histogram.positive_counts)
                assert len(histogram.negative_index) == len(histogram.negative_counts)


@pytest.mark.parametrize(
    ("path", "kind", "encode"),
    [
        ("/v0.3/traces", "application/msgpack", as_msgpack),
        ("/v0.4/traces", "application/json", as_json),
        ("/v0.5/traces", "application/msgpack", as_v05),
    ],
)
async def test_datadog(path: str, kind: str, encode: Callable[[RawTraces], bytes]) -> None:
    """Spans that are taken are spans with ids, like any other's."""
    chance = random.Random(path)
    log, settings = MemoryLog(), receiver_settings(TAEL_DD_AGENT_ADDR="127.0.0.1:0")
    pipeline = Pipeline(log, Router(2), settings, registry=CollectorRegistry())

    def body(marker: str) -> bytes:
        return encode([[raw_span(meta={"marker": marker, "_dd.p.tid": "640cfd8d00000000"}, metrics={"n": 1.5}), raw_span(span_id=9)]])

    async with datadog.serve(settings, pipeline) as address, aiohttp.ClientSession(headers={"Content-Type": kind}) as http:

        async def send(sent: bytes) -> int:
            async with http.put(f"http://{address}{path}", data=sent) as answer:
                return answer.status

        assert {await send(damaged(body(f"fuzz{turn}"), chance)) for turn in range(ROUNDS)} == {200, 400}
        assert await send(body("neighbour")) == 200
    assert any(b"neighbour" in request for request in log.requests)
    assert all(len(span.trace_id) == 16 and any(span.trace_id) and any(span.span_id) for span in log.spans)
