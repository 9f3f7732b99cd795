"""The cost of an append for the receivers' process and for nats-server, and the appends per second; with an fsync for every entry, on one
shard.

    python -m bench.wal [--bytes 39000] [--callers 32] [--seconds 10]

Each caller appends one body after the other, like requests in flight. CPU seconds do not depend on the other load of the machine, rates do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import uvloop

from tael.model.signals import TRACES
from tael.runtime.nats import connection
from tael.wal import codec
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.streams import JetStreamStreams, wal_state
from tests.support.nats import NatsServer

_MAX_BYTES = 8 << 30


async def measure(server: NatsServer, size_bytes: int, callers: int, seconds: float) -> dict[str, float]:
    """Append for ``seconds``; return the figures by name."""
    took: list[float] = []
    async with connection(server.settings(), "bench") as client:
        await JetStreamStreams(client, "bench", [server.monitor_url], replicas=1, max_bytes=_MAX_BYTES).ensure(1)
        appender = JetStreamAppender(client, "bench", in_flight_bytes=1 << 30)
        request, until = os.urandom(size_bytes), time.monotonic() + seconds

        async def call() -> None:
            while time.monotonic() < until:
                digest = os.urandom(codec.DIGEST_BYTES)
                started = time.perf_counter()
                await appender.append(0, TRACES, codec.encode("default", 1, request, digest=digest, items=100), 100, digest.hex())
                took.append(time.perf_counter() - started)

        nats = psutil.Process(server.pid)
        before, before_nats = time.process_time(), sum(nats.cpu_times()[:2])
        await asyncio.gather(*(call() for _ in range(callers)))
        cpu, cpu_nats = time.process_time() - before, sum(nats.cpu_times()[:2]) - before_nats
        entries = (await wal_state(client, "bench", 0)).last
    p50, p99 = np.percentile(took, [50, 99])
    return {
        "appends": len(took),
        "appends_per_second": round(len(took) / seconds),
        "appends_an_entry": round(len(took) / entries, 1),
        "p50_ms": round(float(p50) * 1e3, 1),
        "p99_ms": round(float(p99) * 1e3, 1),
        "cpu_ms_an_append": round(cpu / len(took) * 1e3, 3),
        "nats_cpu_ms_an_append": round(cpu_nats / len(took) * 1e3, 3),
    }


def main() -> None:
    """Parse the command line, measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=39_000)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = NatsServer(Path(directory), max_file="16GB")
        server.start()
        try:
            print(json.dumps(uvloop.run(measure(server, chosen.bytes, chosen.callers, chosen.seconds))))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
