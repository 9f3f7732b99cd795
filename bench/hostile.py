"""The cost of hostile and slow senders: CPU and memory of ingest for requests that expand to a lot, and the latency of other senders
meanwhile.

    python -m bench.hostile [--mib 1] [--connections 5400]

Each attack of tests/support/hostile.py is sent alone, then the costly ones several at once while a neighbour sends small requests. Then
idle connections and stalled uploads are opened, and live streams that do not read. Bounded: about two minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from bench.load import Stamper
from tael.runtime.service import raise_open_files
from tests.support.hostile import MIB, Attack, attacks
from tests.support.suite import Suite

_STALLED = (
    b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 60000000\r\n\r\n" + bytes(1000)
)
_AT_ONCE, _NEIGHBOUR_SECONDS, _STREAMS, _QUIET_CPU_SECONDS = 4, 10.0, 60, 0.2
_PROTOBUF = {"Content-Type": "application/x-protobuf"}


class Bench:
    """A running suite, and clients to it."""

    def __init__(self, suite: Suite, http: aiohttp.ClientSession) -> None:
        self._suite, self._http = suite, http
        self._processes = suite.children()
        self._stamper = Stamper(10, "neighbour")
        self._ports = {"otlp": suite.http_port, "datadog": suite.datadog_port}

    def rss_mib(self, name: str = "ingest") -> float:
        """Resident memory of a process now."""
        return round(self._processes[name].memory_info().rss / MIB, 1)

    def cpu_seconds(self) -> float:
        """CPU seconds that ingest has used so far."""
        times = self._processes["ingest"].cpu_times()
        return float(times.user + times.system)

    async def attack(self, attack: Attack) -> int:
        """Send an attack; return the status of the answer."""
        url = f"http://127.0.0.1:{self._ports[attack.port]}{attack.path}"
        async with self._http.post(url, data=io.BytesIO(attack.body), headers=attack.headers) as answer:
            await answer.read()
            return answer.status

    async def each(self, mib: int) -> list[dict[str, Any]]:
        """Send the attacks one after the other."""
        rows = []
        for attack in attacks(mib * MIB):
            before = self.cpu_seconds()
            status = await self.attack(attack)
            used = self.cpu_seconds() - before
            rows.append({"attack": attack.name, "wire_bytes": len(attack.body), "status": status, "cpu_seconds": round(used, 2)})
        return sorted(rows, key=lambda row: -float(row["cpu_seconds"]))

    async def neighbour(self, seconds: float) -> dict[str, float]:
        """Send small requests one after the other; return their latencies in ms."""
        took, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            before = time.perf_counter()
            async with self._http.post(
                f"http://127.0.0.1:{self._ports['otlp']}/v1/traces", data=self._stamper.make(), headers=_PROTOBUF
            ) as a:
                assert a.status == 200, a.status
            took.append((time.perf_counter() - before) * 1e3)
        p50, p99 = np.percentile(took, [50, 99])
        return {"requests": len(took), "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}

    async def beside(self, mib: int) -> dict[str, Any]:
        """Send the attacks repeatedly, several at once, while the neighbour sends; return the peak memory."""
        chosen, end, peak = list(attacks(mib * MIB)), time.monotonic() + _NEIGHBOUR_SECONDS, 0.0

        async def lane(start: int) -> int:
            nonlocal peak
            sent = start
            while time.monotonic() < end:
                await self.attack(chosen[sent % len(chosen)])
                peak, sent = max(peak, self.rss_mib()), sent + 1
            return sent - start

        lanes = [asyncio.create_task(lane(i * 7)) for i in range(_AT_ONCE)]
        noticed = await self.neighbour(_NEIGHBOUR_SECONDS)
        return {"attacks": sum(await asyncio.gather(*lanes)), "neighbour": noticed, "peak_rss_mib": peak, "rss_after_mib": self.rss_mib()}

    @contextlib.asynccontextmanager
    async def connections(self, count: int, sent: bytes) -> AsyncIterator[None]:
        """The given number of connections that send only these bytes."""
        opened = [await asyncio.open_connection("127.0.0.1", self._ports["otlp"]) for _ in range(count)]
        for _, writer in opened:
            writer.write(sent)
        try:
            yield
        finally:
            for _, writer in opened:
                writer.close()

    async def settled(self) -> None:
        """Wait until ingest is nearly idle, at most half a minute."""
        for _ in range(30):
            before = self.cpu_seconds()
            await asyncio.sleep(1)
            if self.cpu_seconds() - before < _QUIET_CPU_SECONDS:
                return

    async def stalling(self, count: int) -> dict[str, Any]:
        """The neighbour's latency beside stalled uploads and idle connections, and the memory that ingest holds for them."""
        rows: dict[str, Any] = {}
        for name, sent in (("idle", b""), ("stalled uploads", _STALLED)):
            before = self.rss_mib()
            async with self.connections(count, sent):
                await self.settled()
                rows[name] = {**await self.neighbour(3), "connections": count, "rss_grown_mib": round(self.rss_mib() - before, 1)}
        return rows

    async def streams(self) -> dict[str, Any]:
        """Live streams that do not read, while spans of 20 kB come in."""
        url, before = f"{self._suite.url}/api/v1/traces/live", self.rss_mib("query")
        answers = [await self._http.get(url) for _ in range(_STREAMS // 2)]
        others = [await self._http.get(url, headers={"X-Scope-OrgID": "other"}) for _ in range(_STREAMS - len(answers))]
        now = str(time.time_ns())
        peak = before
        for _ in range(40):
            for tenant in ("default", "other"):
                text = {"key": "text", "value": {"stringValue": "x" * 20_000}}
                ids = [{"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8)} for _ in range(50)]
                times = {"name": "n", "startTimeUnixNano": now, "endTimeUnixNano": now, "attributes": [text]}
                body = {"resourceSpans": [{"scopeSpans": [{"spans": [{**one, **times} for one in ids]}]}]}
                headers = {"Content-Type": "application/json", "X-Scope-OrgID": tenant}
                data = io.BytesIO(json.dumps(body).encode())
                async with self._http.post(f"http://127.0.0.1:{self._ports['otlp']}/v1/traces", data=data, headers=headers) as answer:
                    assert answer.status == 200, await answer.text()
            peak = max(peak, self.rss_mib("query"))
        for answer in (*answers, *others):
            answer.close()
        return {"streams": _STREAMS, "query_rss_before_mib": before, "query_peak_rss_mib": peak}


async def run(suite: Suite, mib: int, connections: int) -> dict[str, Any]:
    """Run all parts, one after the other."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        bench = Bench(suite, http)
        found: dict[str, Any] = {"rss_before_mib": bench.rss_mib(), "alone": await bench.neighbour(3)}
        found["each"] = await bench.each(mib)
        found["beside"] = await bench.beside(mib)
        found["connections"] = await bench.stalling(connections)
        found["live"] = await bench.streams()
    began = time.monotonic()
    suite.stop()
    return {**found, "stop_seconds": round(time.monotonic() - began, 1)}


def main() -> None:
    """Run the benchmark, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1, help="what each request unpacks to")
    parser.add_argument("--connections", type=int, default=5400)
    arguments = parser.parse_args()
    raise_open_files()
    with tempfile.TemporaryDirectory() as directory, Suite(Path(directory)) as suite:
        found = asyncio.run(run(suite, arguments.mib, arguments.connections))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
