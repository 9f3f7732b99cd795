"""Several times the load that ingest can take: what it refuses and how, how much memory it holds, what is readable afterwards, and how soon
it recovers.

    python -m bench.overload [--seconds 60]

First one tenant sends more than the process may hold. Then a noisy tenant sends many times its rate while a quiet one continues. Every
lane resends the same body until it is accepted, as an exporter does, but waits less than it is asked to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import psutil
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from bench.load import METHOD, Stamper
from tests.support.suite import Suite, until

RETRYABLE = {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
SETTINGS = {
    "TAEL_MAX_INFLIGHT_BYTES": "1MiB",
    "TAEL_MAX_REQUEST_BYTES": "1MiB",
    "TAEL_INFLIGHT_WAIT_SECS": "0",
    "TAEL_INGEST_ROLE": "receive",
}
"""The suite's ingest only receives, so that its memory is the receivers' alone; a second one writes."""
NOISY_ITEMS_PER_SECOND = 5_000
LIMITS = {"noisy": {"items_per_second": NOISY_ITEMS_PER_SECOND, "burst_seconds": 1}}
_IMPATIENCE_SECONDS = 0.02


@dataclass
class Outcome:
    """The answers to one tenant's lanes."""

    spans: int = 0
    requests: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    without_delay: int = 0
    final: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def offered_times(self) -> float:
        """The ratio of the offered to the accepted load."""
        return (self.requests + self.refused.total()) / max(1, self.requests)

    def report(self) -> dict[str, Any]:
        """The outcome for the JSON report."""
        p50, p99 = np.percentile(self.seconds, [50, 99]) if self.seconds else (0.0, 0.0)
        return {
            "spans": self.spans,
            "requests": self.requests,
            "refused": dict(self.refused),
            "offered_times": round(self.offered_times, 1),
            "refused_without_delay": self.without_delay,
            "refused_for_good": len(self.final),
            "ack_p50_ms": round(float(p50) * 1e3, 1),
            "ack_p99_ms": round(float(p99) * 1e3, 1),
        }


def settings(directory: Path) -> dict[str, str]:
    """The suite's environment: a small memory budget, and a limit for one tenant."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "limits.json"
    file.write_text(json.dumps(LIMITS))
    return {**SETTINGS, "TAEL_LIMITS_FILE": str(file)}


@contextmanager
def overloadable(directory: Path) -> Iterator[Suite]:
    """A suite with a small memory budget and a limit for one tenant, and with a separate writer."""
    with Suite(directory / "suite", env=settings(directory)) as suite:
        suite.spawn("ingest", "writer", {"TAEL_INGEST_ROLE": "write"})
        yield suite


async def send(
    endpoint: str, service: str, *, lanes: int, spans: int, seconds: float, tenant: str = "default", pause: float = 0.0
) -> Outcome:
    """Send for ``seconds`` on ``lanes`` at once, each one request after the other, with a ``pause`` after accepted requests."""
    outcome, stamper = Outcome(), Stamper(spans, service)
    end = time.monotonic() + seconds
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for lane in range(lanes):
            if lane % 16 == 0:
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(endpoint, options=options))
            group.create_task(_lane(channel.unary_unary(METHOD), stamper, end, outcome, tenant, pause))
    return outcome


async def _lane(call: Any, stamper: Stamper, end: float, outcome: Outcome, tenant: str, pause: float) -> None:
    while time.monotonic() < end:
        body, began = stamper.make(), time.perf_counter()
        while time.monotonic() < end:
            try:
                await call(body, timeout=30, metadata=(("x-scope-orgid", tenant),))
            except grpc.aio.AioRpcError as error:
                _count(outcome, error)
                await asyncio.sleep(_IMPATIENCE_SECONDS)
                continue
            outcome.seconds.append(time.perf_counter() - began)
            outcome.requests += 1
            outcome.spans += stamper.spans
            break
        await asyncio.sleep(pause)


def _count(outcome: Outcome, error: grpc.aio.AioRpcError) -> None:
    code = error.code().name
    outcome.refused[code] += 1
    if code not in RETRYABLE:
        outcome.final.append(f"{code}: {error.details()}")
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    status = Status.FromString(details)
    retry = RetryInfo()
    if not any(detail.Unpack(retry) for detail in status.details) or not retry.retry_delay.ToTimedelta():
        outcome.without_delay += 1


async def watch_memory(process: psutil.Process, stop: asyncio.Event) -> list[int]:
    """Record the resident memory of a process ten times a second until ``stop``."""
    found: list[int] = []
    while not stop.is_set():
        found.append(process.memory_info().rss)
        await asyncio.sleep(0.1)
    return found


def readable(suite: Suite, service: str, tenant: str = "default") -> int:
    """The number of spans of a service that a query finds."""
    services = suite.get_when_ready("/api/v1/services?last=1h", headers={"X-Scope-OrgID": tenant})["services"]
    return next((int(found["span_count"]) for found in services if found["name"] == service), 0)


def assert_readable(suite: Suite, outcomes: Mapping[tuple[str, str], Outcome], seconds: float = 60) -> None:
    """Assert that exactly the acknowledged spans become readable, by service and tenant."""
    for (service, tenant), outcome in outcomes.items():
        until(partial(_has, suite, service, tenant, outcome.spans), f"all {outcome.spans} spans of {tenant}", seconds, 0.5)
        assert readable(suite, service, tenant) == outcome.spans, f"{tenant} has other spans than were acknowledged"


def _has(suite: Suite, service: str, tenant: str, spans: int) -> bool:
    return readable(suite, service, tenant) >= spans


async def overload(suite: Suite, seconds: float, lanes: int = 192, spans: int = 1000) -> tuple[Outcome, list[int], float]:
    """Flood from one tenant; return the answers, ingest's memory meanwhile, and the seconds until a small request is accepted again."""
    endpoint = f"127.0.0.1:{suite.grpc_port}"
    stop = asyncio.Event()
    watching = asyncio.create_task(watch_memory(suite.children()["ingest"], stop))
    outcome = await send(endpoint, "flood", lanes=lanes, spans=spans, seconds=seconds)
    ended = time.monotonic()
    while not (await send(endpoint, "after", lanes=1, spans=1, seconds=0.05)).requests:
        pass
    recovery = time.monotonic() - ended
    stop.set()
    return outcome, await watching, recovery


async def noisy_and_quiet(suite: Suite, seconds: float) -> tuple[Outcome, Outcome]:
    """Run a noisy tenant beside a quiet one."""
    endpoint = f"127.0.0.1:{suite.grpc_port}"
    noisy = send(endpoint, "noisy", lanes=32, spans=500, seconds=seconds, tenant="noisy")
    quiet = send(endpoint, "quiet", lanes=2, spans=20, seconds=seconds, tenant="quiet", pause=0.05)
    first, second = await asyncio.gather(noisy, quiet)
    return first, second


def main() -> None:
    """Start a suite, overload it twice, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name, overloadable(Path(name)) as suite:
        flood, memory, recovery = asyncio.run(overload(suite, seconds))
        noisy, quiet = asyncio.run(noisy_and_quiet(suite, seconds))
        assert_readable(suite, {("flood", "default"): flood, ("noisy", "noisy"): noisy, ("quiet", "quiet"): quiet}, 300)
        half = len(memory) // 2
        print(
            json.dumps(
                {
                    "flood": flood.report(),
                    "ingest_rss_mib": {
                        "at_start": memory[0] >> 20,
                        "peak_first_half": max(memory[:half]) >> 20,
                        "peak_second_half": max(memory[half:]) >> 20,
                    },
                    "recovery_seconds": round(recovery, 2),
                    "noisy": noisy.report(),
                    "quiet": quiet.report(),
                    "readable": "exactly what was acknowledged",
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
