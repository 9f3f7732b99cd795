"""The latency from a span's acknowledgement to its event in a live stream, through the whole suite on this machine.

    python -m bench.live [--probes 150] [--background 2000] [--watchers 1]

Probes of one span are sent over gRPC, ten a second, while a stream that filters for them is read. The figure is the time from the client's
answer to the event's arrival; it is negative if the event arrived before the sender had its answer. The background load runs in parallel,
for the same tenant, so that the query service decodes all of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import numpy as np

from bench.load import METHOD, Stamper
from tests.support.suite import Suite

_SERVICE, _EVERY_SECONDS, _LAST_SECONDS = "live-probe", 0.1, 3.0
_SENDER = """
import sys, time, grpc
from bench.load import METHOD, Stamper
endpoint, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
stamper, end, turn = Stamper(100, "background"), time.monotonic() + seconds, time.monotonic()
with grpc.insecure_channel(endpoint) as channel:
    export = channel.unary_unary(METHOD)
    while turn < end:
        export(stamper.make(), timeout=10)
        turn += 100 / rate
        time.sleep(max(0.0, turn - time.monotonic()))
"""


class Screen:
    """A stream read in its own thread: when each trace was seen, and what was lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.seen: dict[str, float] = {}
        self.lost = 0
        self.begun = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with urllib.request.urlopen(self._url) as response:  # noqa: S310  # a loopback http URL
            name = ""
            for raw in response:
                now, line = time.monotonic(), raw.decode().rstrip("\n")
                self.begun.set()
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    value = json.loads(line.removeprefix("data: "))
                    if name == "dropped":
                        self.lost += value["count"]
                    elif not name:
                        self.seen.update((span["trace_id"], now) for span in value)
                elif not line:
                    name = ""


def probe(suite: Suite, count: int) -> dict[str, float]:
    """Send probes; return the time of each acknowledgement, by trace id."""
    stamper, acknowledged = Stamper(1, _SERVICE), {}
    with grpc.insecure_channel(f"127.0.0.1:{suite.grpc_port}") as channel:
        export = channel.unary_unary(METHOD)
        for _ in range(count):
            body = stamper.make()
            export(body, timeout=10)
            acknowledged[trace_id_of(body)] = time.monotonic()
            time.sleep(_EVERY_SECONDS)
    return acknowledged


def trace_id_of(body: bytes) -> str:
    """The trace id of the only span."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return str(ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans[0].trace_id.hex())


def measure(suite: Suite, probes: int, background: int, watchers: int) -> dict[str, object]:
    """Run once."""
    screens = [Screen(f"{suite.url}/api/v1/traces/live?service={_SERVICE}") for _ in range(watchers)]
    for screen in screens:
        screen.begun.wait(10)
    load = None
    if background:
        seconds = str(probes * _EVERY_SECONDS * 1.5)
        load = subprocess.Popen([sys.executable, "-c", _SENDER, f"127.0.0.1:{suite.grpc_port}", str(background), seconds])
        time.sleep(1)
    acknowledged = probe(suite, probes)
    time.sleep(_LAST_SECONDS)
    if load is not None:
        load.terminate()
        load.wait(10)
    took = [(screen.seen[key] - at) * 1000 for screen in screens for key, at in acknowledged.items() if key in screen.seen]
    p50, p99 = (float(np.percentile(took, q)) for q in (50, 99)) if took else (0.0, 0.0)
    unseen = watchers * len(acknowledged) - len(took)
    return {
        "probes": probes,
        "background": background,
        "watchers": watchers,
        "p50_ms": p50,
        "p99_ms": p99,
        "unseen": unseen,
        "lost": screens[0].lost,
    }


def main() -> None:
    """Start the suite, and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--probes", type=int, default=100)
    parser.add_argument("--background", type=int, default=2000, help="spans a second beside the probes")
    parser.add_argument("--watchers", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Suite(Path(directory)) as suite:
        for background in sorted({0, arguments.background}):
            print(json.dumps(measure(suite, arguments.probes, background, arguments.watchers)))


if __name__ == "__main__":
    main()
