"""Items acknowledged and readable per second through the whole suite, with everything on this machine, including the load generator.

    python -m bench.ingest [--signal traces] [--spans 100] [--seconds 60] [--shards 1]

Starts the suite by `tael serve` in its own directory, runs bench.load as another process, sends a probe trace of one span once
a second to see how long an acknowledged span takes to be readable, then waits until everything is readable and counts it in the hot
tier: what was acknowledged must be there, once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from bench.load import CLIENTS, METHOD, Stamper
from tests.support.suite import Suite

_PROBE_EVERY_SECONDS, _PROBE_POLL_SECONDS, _PROBE_GIVE_UP_SECONDS = 1.0, 0.25, 60.0


@dataclass
class Usage:
    """The resource usage of one process during the run."""

    cpu_seconds: float = 0.0
    peak_rss: int = 0


@dataclass
class Observed:
    """What the observing threads recorded."""

    usage: dict[str, Usage] = field(default_factory=dict)
    readable_ms: list[float] = field(default_factory=list)
    unseen: int = 0


def sample(suite: Suite, observed: Observed, done: threading.Event) -> None:
    """Record CPU and memory of each process until ``done``."""
    processes = suite.children()
    begin = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    while True:
        last = done.wait(0.5)
        for name, process in processes.items():
            try:
                usage = observed.usage.setdefault(name, Usage())
                usage.cpu_seconds = sum(process.cpu_times()[:2]) - begin[name]
                usage.peak_rss = max(usage.peak_rss, process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        if last:
            return


def probe(suite: Suite, observed: Observed, done: threading.Event) -> None:
    """Send a trace of one span, and query until it is readable."""
    stamper = Stamper(1, "probe")
    with grpc.insecure_channel(f"127.0.0.1:{suite.grpc_port}") as channel:
        call = channel.unary_unary(METHOD)
        while not done.wait(_PROBE_EVERY_SECONDS):
            body = stamper.make()
            try:
                call(body, timeout=10)
            except grpc.RpcError:
                continue
            acknowledged = time.monotonic()
            trace_id = body[(at := body.index(b"\x0a\x10") + 2) : at + 16].hex()
            while not _readable(suite, trace_id):
                if time.monotonic() - acknowledged > _PROBE_GIVE_UP_SECONDS:
                    observed.unseen += 1
                    break
                time.sleep(_PROBE_POLL_SECONDS)
            else:
                observed.readable_ms.append((time.monotonic() - acknowledged) * 1e3)


def _readable(suite: Suite, trace_id: str) -> bool:
    try:
        return bool(suite.get(f"/api/v1/traces/{trace_id}")["span_count"])
    except OSError:
        return False


@dataclass(frozen=True)
class Target:
    """A signal under test: the generator's name for its items, their table, the expression that distinguishes them, and a load that fits
    two cores.
    """

    noun: str
    table: str
    identity: str
    port: str
    arguments: tuple[str, ...] = ()


_SERIES = ("--connections", "2", "--in-flight", "4")
TARGETS = {
    "traces": Target("spans", "spans", "trace_id, span_id", "grpc_port"),
    "logs": Target("records", "logs", "trace_id, timestamp, attributes_int, body", "grpc_port"),
    "metrics": Target("samples", "samples", "series, ts", "grpc_port", _SERIES),
    "remote-write": Target("samples", "samples", "series, ts", "http_port", _SERIES),
}


def stored_rows(suite: Suite, target: Target) -> int:
    """The rows in every shard's table according to its parts, which costs the hot tier nothing while it catches up."""
    return int(_ask_shards(suite, f"SELECT sum(rows) FROM system.parts WHERE active AND database = 'tael' AND table = '{target.table}'")[0])


def count_stored(suite: Suite, target: Target) -> tuple[int, int]:
    """The rows of the signal in every shard's hot tier without the probe's, and the number of distinct items among them."""
    where = "WHERE metric != xxh3('target_info')" if target.table == "samples" else "WHERE service != 'probe'"
    rows, distinct = _ask_shards(suite, f"SELECT count(), uniqExact({target.identity}) FROM tael.{target.table} {where}")
    return rows, distinct


def _ask_shards(suite: Suite, sql: str) -> list[int]:
    """A query's single row of numbers, summed over the shards."""
    totals: list[int] = []
    for shard in suite.get("/internal/cluster")["shards"]:
        url = f"{shard['url']}/?{urllib.parse.urlencode({'query': f'{sql} FORMAT JSONCompact'})}"
        request = urllib.request.Request(url, headers=suite.clickhouse_login())  # noqa: S310  # a loopback http URL
        with urllib.request.urlopen(request) as answer:  # noqa: S310  # the same
            row = [int(value) for value in json.load(answer)["data"][0]]
        totals = [known + value for known, value in zip(totals or [0] * len(row), row, strict=True)]
    return totals


def measure(
    signal: str, spans: int, seconds: float, shards: int, directory: Path, settings: dict[str, str], client: str = "grpc"
) -> dict[str, Any]:
    """Run once from a new data directory, with these settings in addition to the suite's own."""
    target = TARGETS[signal]
    observed, done = Observed(), threading.Event()
    with Suite(directory, shards=shards, env=settings) as suite:
        suite.supervisor()  # the banner, with which the tables are there: what came before would wait in the WAL
        idle = {name: process.memory_info().rss for name, process in suite.children().items()}
        sides = [threading.Thread(target=work, args=(suite, observed, done), daemon=True) for work in (sample, probe)]
        for side in sides:
            side.start()
        command = [
            sys.executable,
            "-m",
            "bench.load",
            "--endpoint",
            f"127.0.0.1:{getattr(suite, target.port)}",
            "--signal",
            signal,
            *target.arguments,
            "--spans",
            str(spans),
            "--seconds",
            str(seconds),
            "--client",
            client,
        ]
        generator = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 120)
        result: dict[str, Any] = json.loads(generator.stdout)
        result.setdefault("generator_cpu_seconds", round(sum(os.times()[2:4]), 1))
        finished = time.monotonic()
        deadline = finished + 180
        while stored_rows(suite, target) < result[target.noun] and time.monotonic() < deadline:
            time.sleep(0.2)
        caught_up = time.monotonic() - finished
        done.set()
        for side in sides:
            side.join(90)
        while (stored := count_stored(suite, target))[0] < result[target.noun] and time.monotonic() < deadline:
            time.sleep(1)
    result["readable"], result["distinct"] = stored
    result["lost"], result["twice"] = result[target.noun] - stored[1], stored[0] - stored[1]
    result["caught_up_after_seconds"] = round(caught_up, 1)
    result["readable_per_second"] = round(stored[0] / (result["seconds"] + caught_up))
    result["probes"] = len(observed.readable_ms)
    result["probes_unseen"] = observed.unseen
    if observed.readable_ms:
        result["readable_p50_ms"], result["readable_p99_ms"] = (round(float(v)) for v in np.percentile(observed.readable_ms, [50, 99]))
    result["processes"] = {
        name: {
            "idle_mib": idle.get(name, 0) >> 20,
            "peak_mib": usage.peak_rss >> 20,
            "cpu_cores": round(usage.cpu_seconds / (result["seconds"] + caught_up), 2),
        }
        for name, usage in sorted(observed.usage.items())
    }
    return result


def show(result: dict[str, Any]) -> None:
    """Print the run as two tables."""
    console = Console(width=110)
    figures = Table("figure", "value", title="bench-ingest", title_justify="left")
    for name, value in result.items():
        if name != "processes":
            figures.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    processes = Table("process", "idle MiB", "peak MiB", "cores", title="processes", title_justify="left")
    for name, usage in result["processes"].items():
        processes.add_row(name, *(str(usage[key]) for key in ("idle_mib", "peak_mib", "cpu_cores")))
    processes.add_row(
        "sum", *(str(round(sum(u[key] for u in result["processes"].values()), 2)) for key in ("idle_mib", "peak_mib", "cpu_cores"))
    )
    console.print(figures)
    console.print(processes)


def main() -> None:
    """Read the command line, measure, show, and fail when something was lost or stored twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signal", choices=TARGETS, default="traces")
    parser.add_argument("--spans", type=int, action="append", help="items a request; may be repeated (default 100 and 1000)")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="a setting of the suite as NAME=VALUE; may be repeated")
    parser.add_argument("--client", choices=CLIENTS, default="grpc", help="see bench.load")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    chosen = parser.parse_args()
    broken = False
    for spans in chosen.spans or [100, 1000]:
        directory = Path(tempfile.mkdtemp(prefix="tael-bench-"))
        try:
            result = {
                "signal": chosen.signal,
                "items_a_request": spans,
                **measure(
                    chosen.signal,
                    spans,
                    chosen.seconds,
                    chosen.shards,
                    directory,
                    dict(each.split("=", 1) for each in chosen.set),
                    chosen.client,
                ),
            }
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        print(json.dumps(result, indent=2)) if chosen.json else show(result)
        broken |= bool(result["lost"] or result["twice"] or result["probes_unseen"])
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
