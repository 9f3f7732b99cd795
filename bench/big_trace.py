"""The cost of reading a long trace: CPU of the query process and the hot node, growth of memory, and the latency of `/readyz` meanwhile.

    python -m bench.big_trace [--spans 200000] [--forms native,tempo-protobuf]

Each span has the 11 attributes of bench/load.py. Each form is read once; the client counts bytes and keeps nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.load import template
from tests.support.suite import Suite

_TRACE: Final = bytes(range(16))
_REQUEST_SPANS: Final = 5_000
_MIB: Final = 1 << 20
_PROTOBUF: Final = {"Accept": "application/protobuf"}
FORMS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "native": ("/api/v1/traces/{}", {}),
    "tempo-protobuf": ("/tempo/api/v2/traces/{}", _PROTOBUF),
    "tempo-v1-protobuf": ("/tempo/api/traces/{}", _PROTOBUF),
    "tempo-json": ("/tempo/api/v2/traces/{}", {}),
    "jaeger": ("/jaeger/api/traces/{}", {}),
    "jaeger-v3": ("/jaeger/api/v3/traces/{}", {}),
}


def requests(spans: int) -> list[bytes]:
    """The requests of one trace that covers the last half minute."""
    message = ExportTraceServiceRequest.FromString(template(_REQUEST_SPANS, "bench"))
    now, made = time.time_ns() - 30 * 10**9, []
    for first in range(0, spans, _REQUEST_SPANS):
        own = message.resource_spans[0].scope_spans[0].spans
        for index, span in enumerate(own, first):
            span.trace_id, span.span_id = _TRACE, (index + 1).to_bytes(8, "big")
            span.parent_span_id = (1).to_bytes(8, "big") if index else b""
            span.start_time_unix_nano = now + index * 100_000
            span.end_time_unix_nano = span.start_time_unix_nano + 1_234_567
        made.append(message.SerializeToString())
    return made


class Watch:
    """Records the peak memory of a process and the longest `/readyz` while the block runs."""

    def __init__(self, process: psutil.Process, http: aiohttp.ClientSession, url: str) -> None:
        self._process, self._http, self._url = process, http, url + "/readyz"
        self.peak_bytes = self.before_bytes = process.memory_info().rss
        self.ready_seconds = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._memory()), asyncio.create_task(self._ready())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _memory(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)
            await asyncio.sleep(0.02)

    async def _ready(self) -> None:
        while True:
            began = time.perf_counter()
            async with self._http.get(self._url) as answer:
                await answer.read()
            self.ready_seconds = max(self.ready_seconds, time.perf_counter() - began)
            await asyncio.sleep(0.05)


async def read(suite: Suite, http: aiohttp.ClientSession, form: str) -> dict[str, Any]:
    """Read the trace once."""
    path, headers = FORMS[form]
    processes = suite.children()
    query, hot = processes["query"], processes["hotnode-0"]
    before, began, size = [_cpu(query), _cpu(hot)], time.perf_counter(), 0
    first = 0.0
    async with (
        Watch(query, http, suite.url) as watch,
        http.get(suite.url + path.format(_TRACE.hex()), headers={"Accept-Encoding": "identity", **headers}) as answer,
    ):
        async for piece in answer.content.iter_any():
            first = first or time.perf_counter() - began
            size += len(piece)
    return {
        "form": form,
        "status": answer.status,
        "mib": round(size / _MIB, 1),
        "seconds": round(time.perf_counter() - began, 2),
        "first_byte_seconds": round(first, 2),
        "query_cpu_seconds": round(_cpu(query) - before[0], 2),
        "hot_node_cpu_seconds": round(_cpu(hot) - before[1], 2),
        "query_rss_before_mib": round(watch.before_bytes / _MIB),
        "query_rss_grown_mib": round((watch.peak_bytes - watch.before_bytes) / _MIB),
        "readyz_most_seconds": round(watch.ready_seconds, 2),
    }


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def run(suite: Suite, spans: int, forms: list[str]) -> None:
    """Send the trace, wait until it is readable, and print the cost of a read in each form."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as http:
        for body in requests(spans):
            headers = {"Content-Type": "application/x-protobuf"}
            async with http.post(f"http://127.0.0.1:{suite.http_port}/v1/traces", data=io.BytesIO(body), headers=headers) as answer:
                assert answer.status == 200, await answer.text()
        while True:
            async with http.get(f"{suite.url}/api/v1/services") as answer:
                found = (await answer.json())["services"]
            if sum(service["span_count"] for service in found) >= spans:
                break
            await asyncio.sleep(0.5)
        await asyncio.sleep(10)  # for merges and connections to settle
        for form in forms:
            print(json.dumps(await read(suite, http, form)), flush=True)


def main() -> None:
    """Run the benchmark, and print a line of JSON for each form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--forms", default=",".join(FORMS))
    arguments = parser.parse_args()
    env = {"TAEL_MAX_TRACE_SPANS": "1000000", "TAEL_QUERY_TIMEOUT_SECS": "300"}
    with tempfile.TemporaryDirectory() as directory, Suite(Path(directory), env=env) as suite:
        asyncio.run(run(suite, arguments.spans, arguments.forms.split(",")))


if __name__ == "__main__":
    main()
