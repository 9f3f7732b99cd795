"""No row refers to a payload that is missing, wherever a receiver or a writer stops: after any append and any insert."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry

from services.ingest.pipeline import Pipeline
from services.ingest.writer.plan import in_turns, inserts_of, intent_of
from tael.cluster.shard import Router
from tael.errors import Unavailable
from tael.model.signals import PAYLOADS, TRACES
from tael.otlp.signals import SIGNALS
from tael.pb.payloads_pb2 import PayloadBatch
from tael.wal import codec
from tael.wal.api import Entry
from tests.support.otlp import BASE_NS, MemoryLog, receiver_settings

SHARDS = 2
PROMPTS = tuple(name * 3_000 for name in ("a", "b", "c"))
HOUR_NS = 3_600 * 10**9


@dataclass
class Stopping(MemoryLog):
    """A WAL that accepts a given number of appends and then none; after ``heal`` it accepts all."""

    left: int = 0

    async def append(self, shard: int, signal: str, body: bytes, items: int, dedup_id: str) -> None:
        if not self.left:
            raise Unavailable("stopped")
        self.left -= 1
        await super().append(shard, signal, body, items, dedup_id)


def request_of(prompts: list[tuple[int, int]]) -> bytes:
    """A request with a span for each pair of numbers, of a prompt and of an hour."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number, (prompt, hour) in enumerate(prompts):
        span = spans.add(trace_id=bytes([number + 1] * 16), span_id=bytes([1] * 8), start_time_unix_nano=BASE_NS - hour * HOUR_NS)
        span.attributes.add(key="gen_ai.input.messages").value.string_value = PROMPTS[prompt]
    return request.SerializeToString()


REQUESTS = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=4).map(request_of), min_size=1, max_size=4
)


async def received(requests: list[bytes], stops_after: list[int]) -> MemoryLog:
    """The WAL after receivers that stopped after given numbers of appends, each followed by clients that sent what failed to the
    next one.
    """
    log = Stopping()
    waiting = list(requests)
    for appends in (*stops_after, 1_000):
        log.left = appends
        pipeline = Pipeline(log, Router(SHARDS), receiver_settings(), registry=CollectorRegistry())
        failed = []
        for request in waiting:
            try:
                async with pipeline.reserve("t") as reservation:
                    await pipeline.admit(SIGNALS[TRACES], "t", request, reservation)
            except Unavailable:
                failed.append(request)
        waiting = failed
    assert not waiting
    return log


def referred(body: bytes) -> set[bytes]:
    return set(re.findall(rb"tael\.payload:sha256:([0-9a-f]{64})", body))


def held(body: bytes) -> set[bytes]:
    records = codec.decode(body)
    return {piece.sha256.hex().encode() for record in records for piece in PayloadBatch.FromString(record.request).payloads}


@given(REQUESTS, st.lists(st.integers(0, 4), max_size=3), st.lists(st.integers(1, 3), max_size=6))
@settings(max_examples=40, deadline=None)
def test_written_items_have_their_payloads_after_any_crash(requests: list[bytes], stops_after: list[int], batches: list[int]) -> None:
    log = asyncio.run(received(requests, stops_after))
    for shard in range(SHARDS):
        entries = [
            Entry(n, signal, items, body) for n, (_, signal, body, items) in enumerate((a for a in log.appended if a[0] == shard), 1)
        ]
        there: set[bytes] = set()
        for size in (*batches, len(entries)):
            batch, entries = entries[:size], entries[size:]
            with contextlib.suppress(IndexError):
                for group in in_turns(inserts_of(batch, intent_of(batch, 2), "0")):
                    # Those of one group run side by side: each may be written when the others are not.
                    bodies = [entry.body for insert in group for entry in insert.entries if insert.signal != PAYLOADS]
                    assert all(referred(body) <= there for body in bodies)
                    there |= {one for insert in group if insert.signal == PAYLOADS for entry in insert.entries for one in held(entry.body)}
