"""Closed-loop OTLP load over gRPC from one process; prints what was acknowledged, and how fast, as JSON.

    python -m bench.load --endpoint 127.0.0.1:4317 --spans 100 --connections 4 --in-flight 8 --seconds 60

Every span has 11 attributes, its own ids and the current time; requests are stamped out of one template, so that the generator
uses little CPU compared with what it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp
import grpc
import numpy as np
import uvloop
from numpy.typing import NDArray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bench import h2
from bench.h2 import Call, CallFailed
from bench.logs_load import METHOD as LOGS_METHOD
from bench.logs_load import LogSender
from bench.marks import places_of
from bench.metrics_load import METHOD as METRICS_METHOD
from bench.metrics_load import REMOTE_WRITE_HEADERS, OtlpSender, RemoteWriteSender

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SPANS_PER_TRACE = 10
_NOUNS = {"traces": "spans", "logs": "records", "metrics": "samples"}
_GIVE_UP_SECONDS = 30.0
_ROUTES = ("/cart", "/checkout", "/product/{id}", "/search", "/login", "/health")


def template(spans: int, service: str) -> bytes:
    """A request with marker ids: span i has trace id ``T…`` + its number and so on, to be found and overwritten."""
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    for key, value in (
        ("service.name", service),
        ("service.version", "1.4.2"),
        ("host.name", "node-7"),
        ("deployment.environment.name", "bench"),
        ("telemetry.sdk.language", "python"),
    ):
        attribute = resource.resource.attributes.add(key=key)
        attribute.value.string_value = value
    scope = resource.scope_spans.add()
    scope.scope.name = "bench"
    for index in range(spans):
        _add_span(scope.spans.add(), index)
    return message.SerializeToString()


def _add_span(span: Span, index: int) -> None:
    trace = index // SPANS_PER_TRACE
    span.trace_id = b"TRACETRA" + trace.to_bytes(8, "big")
    span.span_id = b"SPAN" + index.to_bytes(4, "big")
    if index % SPANS_PER_TRACE:
        span.parent_span_id = b"PRNT" + (trace * SPANS_PER_TRACE).to_bytes(4, "big")
    span.name = f"GET {_ROUTES[index % len(_ROUTES)]}"
    span.kind = Span.SPAN_KIND_CLIENT if index % SPANS_PER_TRACE else Span.SPAN_KIND_SERVER
    span.start_time_unix_nano = 0x5354415254000000
    span.end_time_unix_nano = 0x454E444E44000000
    texts = {
        "http.request.method": "GET",
        "http.route": _ROUTES[index % len(_ROUTES)],
        "url.scheme": "https",
        "server.address": f"10.0.0.{index % 200}",
        "user_agent.original": "bench/1.0 (linux)",
        "client.address": f"192.168.1.{index % 250}",
        "session.id": f"s-{index * 7919 % 100003}",
    }
    for key, text in texts.items():
        span.attributes.add(key=key).value.string_value = text
    for key, number in (
        ("http.response.status_code", 500 if index % 50 == 0 else 200),
        ("server.port", 443),
        ("http.response.body.size", index * 37 % 9000),
    ):
        span.attributes.add(key=key).value.int_value = number
    span.attributes.add(key="cache.hit").value.bool_value = index % 3 == 0
    if index % 50 == 0:
        span.status.code = Status.STATUS_CODE_ERROR


class Stamper:
    """Makes requests from the template by overwriting the markers with new ids and times."""

    def __init__(self, spans: int, service: str) -> None:
        self.spans = spans
        self._bytes = np.frombuffer(template(spans, service), dtype=np.uint8).copy()
        raw = self._bytes.tobytes()
        self._traces = places_of(raw, b"TRACETRA")
        self._starts = places_of(raw, (0x5354415254000000).to_bytes(8, "little"))
        self._ends = places_of(raw, (0x454E444E44000000).to_bytes(8, "little"))
        self._seed = int.from_bytes(os.urandom(4), "big") << 32
        self._next = 0

    def make(self) -> bytes:
        """A new request."""
        self._next += 1
        now = time.time_ns()
        self._write(self._traces, (self._seed | self._next).to_bytes(8, "big"))
        self._write(self._starts, now.to_bytes(8, "little"))
        self._write(self._ends, (now + 12_345_678).to_bytes(8, "little"))
        return self._bytes.tobytes()

    def _write(self, places: NDArray[np.int64], value: bytes) -> None:
        self._bytes[places] = np.frombuffer(value, dtype=np.uint8)


class Sender(Protocol):
    """Makes requests with a given number of items."""

    def make(self) -> bytes:
        """A new request."""
        ...


@contextlib.asynccontextmanager
async def _grpc(endpoint: str, method: str) -> AsyncIterator[Call]:
    """The client of gRPC itself."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(endpoint, options=options) as channel:
        stub = channel.unary_unary(method)

        async def call(body: bytes) -> None:
            try:
                await stub(body, timeout=30)
            except grpc.aio.AioRpcError as error:
                raise CallFailed(error.code().name) from error

        yield call


CLIENTS = {"grpc": _grpc, "h2": h2.client}
"""By name, what connects to an endpoint and yields a call of a method."""


async def _drive(call: Call, stamper: Sender, until: float, acks: list[float], retried: list[str]) -> None:
    while time.monotonic() < until:
        body = stamper.make()
        while True:
            started = time.perf_counter()
            try:
                await call(body)
            except CallFailed as error:
                retried.append(str(error))
                if time.monotonic() > until + _GIVE_UP_SECONDS:
                    return
                await asyncio.sleep(0.1)
                continue
            acks.append(time.perf_counter() - started)
            break


async def _post(session: aiohttp.ClientSession, url: str, sender: Sender, until: float, acks: list[float], retried: list[str]) -> None:
    while time.monotonic() < until:
        body = sender.make()
        while True:
            started = time.perf_counter()
            async with session.post(url, data=body, headers=REMOTE_WRITE_HEADERS) as answer:
                if answer.status == 204:
                    acks.append(time.perf_counter() - started)
                    break
                retried.append(str(answer.status))
                if answer.status < 429 or time.monotonic() > until + _GIVE_UP_SECONDS:
                    raise SystemExit(f"{url} answered {answer.status}: {await answer.text()}")
            await asyncio.sleep(0.1)


async def load_remote_write(
    endpoint: str, samples: int, connections: int, in_flight: int, seconds: float, service: str
) -> dict[str, object]:
    """Like ``load``, by remote write over ``connections`` times ``in_flight`` connections."""
    acks: list[float] = []
    retried: list[str] = []
    senders = [RemoteWriteSender(samples, f"{service}-{index}") for index in range(connections * in_flight)]
    started = time.monotonic()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(_post(session, f"http://{endpoint}/api/v1/write", sender, started + seconds, acks, retried))
    return _report(acks, retried, samples, time.monotonic() - started, len(senders[0].make()), "samples")


async def load(
    endpoint: str,
    spans: int,
    connections: int,
    in_flight: int,
    seconds: float,
    service: str,
    signal: str = "traces",
    client: str = "grpc",
) -> dict[str, object]:
    """Keep ``connections`` times ``in_flight`` calls going for ``seconds``; started calls are finished, or given up half a minute later."""
    acks: list[float] = []
    retried: list[str] = []
    method = {"traces": METHOD, "logs": LOGS_METHOD, "metrics": METRICS_METHOD}[signal]
    async with contextlib.AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(CLIENTS[client](endpoint, method)) for _ in range(connections)]
        started, used = time.monotonic(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for connection, call in enumerate(calls):
                for number in range(in_flight):
                    sender = _sender(signal, spans, service, f"{connection}-{number}")
                    group.create_task(_drive(call, sender, started + seconds, acks, retried))
        elapsed, used = time.monotonic() - started, time.process_time() - used
    report = _report(acks, retried, spans, elapsed, len(sender.make()), _NOUNS[signal])
    return report | {"generator_cpu_seconds": round(used, 2)}


def _sender(signal: str, items: int, service: str, own: str) -> Sender:
    if signal == "logs":
        return LogSender(items, service)
    return Stamper(items, service) if signal == "traces" else OtlpSender(items, f"{service}-{own}")


def _report(acks: list[float], retried: list[str], items: int, elapsed: float, body_bytes: int, noun: str) -> dict[str, object]:
    p50, p99 = np.percentile(acks, [50, 99]) if acks else (0.0, 0.0)
    return {
        "requests": len(acks),
        noun: len(acks) * items,
        "seconds": round(elapsed, 3),
        f"{noun}_per_second": round(len(acks) * items / elapsed),
        "ack_p50_ms": round(float(p50) * 1e3, 1),
        "ack_p99_ms": round(float(p99) * 1e3, 1),
        "retries": {code: retried.count(code) for code in sorted(set(retried))},
        "bytes_per_request": body_bytes,
    }


def main() -> None:
    """Parse the command line, generate the load, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", default="127.0.0.1:4317")
    parser.add_argument("--signal", choices=("traces", "logs", "metrics", "remote-write"), default="traces")
    parser.add_argument("--spans", type=int, default=100, help="spans, log records or samples a request")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--service", default="bench")
    parser.add_argument("--client", choices=CLIENTS, default="grpc", help="what makes the calls: gRPC's client, or one that costs little")
    chosen = parser.parse_args()
    shape = (chosen.endpoint, chosen.spans, chosen.connections, chosen.in_flight, chosen.seconds, chosen.service)
    print(
        json.dumps(uvloop.run(load_remote_write(*shape) if chosen.signal == "remote-write" else load(*shape, chosen.signal, chosen.client)))
    )


if __name__ == "__main__":
    main()
