"""PromQL compared: the same samples in tael and in a Prometheus on this machine, and the same queries to both.

    python -m bench.promql                  500 series for 24 hours and 10,000 for one
    python -m bench.promql --full           10,000 series for 24 hours too (57.6 million samples twice, some minutes)
    python -m bench.promql --only 10k-1h    one of the data sets

tael runs as a hot node and a query process, as in the suite, without NATS; Prometheus is Debian's. Hours before the newest are merged, as
happens ten minutes after their end. Each query is sent to both a few times in turn, over HTTP, until the body is complete, and both must
answer with the same number of series and samples. Figures are medians; the table is Markdown, below the version of Prometheus and the load
of the machine. To see where a query's time goes, run `py-spy record -p` with the process ids that are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import psutil
import uvloop

from tael.metrics.identity import metric_id, series_id
from tael.model.series import Floats, Labels, Longs, labels_of
from tael.model.signals import METRICS
from tael.model.tenant import DEFAULT_TENANT
from tael.pb.metrics_pb2 import MetricBatch
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.series.reader import ClickHouseSeries
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.wal import codec
from tests.support.doubles import MemorySpans
from tests.support.hotnode import HotNode
from tests.support.prometheus import Prometheus, installed
from tests.support.query import serving

DATABASE = "bench"
END_S = 1_790_006_400
SCRAPE_MS = 15_000
LE = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf")
BATCH_SAMPLES = 500_000
REPEATS = 5


@dataclass(frozen=True)
class Case:
    """A data set: how many series of each metric, over how many hours, and the step of its queries."""

    name: str
    series: int
    hours: int
    step: int


CASES = (Case("500-1h", 500, 1, 15), Case("500-24h", 500, 24, 300), Case("10k-1h", 10_000, 1, 15), Case("10k-24h", 10_000, 24, 300))

QUERIES = {
    "selector": "bench_requests_total",
    "selector, one service": 'bench_requests_total{service="service-3"}',
    "rate": "rate(bench_requests_total[5m])",
    "sum by rate": "sum by (service) (rate(bench_requests_total[5m]))",
    "histogram_quantile": "histogram_quantile(0.9, sum by (le, service) (rate(bench_seconds_bucket[5m])))",
    "topk": "topk(10, rate(bench_requests_total[5m]))",
    "binary": 'sum by (service) (rate(bench_requests_total{status="500"}[5m])) / sum by (service) (rate(bench_requests_total[5m]))',
    "subquery": "max_over_time(sum by (service) (rate(bench_requests_total[5m]))[30m:1m])",
}


def series_of(case: Case) -> list[Labels]:
    """Counters with eight labels, and a classic histogram's buckets."""
    found = []
    for index in range(case.series):
        own = {
            "job": "bench",
            "service": f"service-{index % 20}",
            "instance": f"10.0.{index // 250 % 250}.{index % 250}:8080",
            "pod": f"pod-{index // 20:05}",
            "region": ("eu", "us")[index % 2],
            "method": ("GET", "POST")[index // 2 % 2],
        }
        found.append(labels_of({"__name__": "bench_requests_total", **own, "status": ("200", "404", "500")[index % 3], "n": str(index)}))
        found.append(labels_of({"__name__": "bench_seconds_bucket", **own, "le": LE[index // 20 % len(LE)], "n": str(index // 200)}))
    return found


def samples_of(case: Case) -> Iterator[tuple[Longs, Floats]]:
    """Times and values for one hour after the other, a row for each series; the first hour begins half an hour early."""
    count, scrapes = case.series * 2, 3_600_000 // SCRAPE_MS
    chance = np.random.default_rng(1)
    total = np.zeros(count)
    jitter = chance.integers(0, SCRAPE_MS - 1, count)[:, None]
    begin = END_S * 1000 - case.hours * 3_600_000
    for hour in range(-1, case.hours):
        times = begin + hour * 3_600_000 + np.arange(scrapes) * SCRAPE_MS + jitter
        values = total[:, None] + np.cumsum(chance.integers(0, 20, (count, scrapes)), axis=1)
        total = values[:, -1]
        kept = slice(scrapes // 2, None) if hour < 0 else slice(None)
        yield times[:, kept], values[:, kept].astype(np.float64)


async def load_tael(clickhouse: ClickHouse, case: Case) -> None:
    """Write the samples as the hot tier's writer does."""
    writer, labels = ClickHouseWriter(clickhouse), series_of(case)
    metrics = np.array([metric_id(dict(series)["__name__"]) for series in labels], np.uint64)
    numbers = np.array([series_id(DEFAULT_TENANT, series) for series in labels], np.uint64)
    for hour, (times, values) in enumerate(samples_of(case)):
        hours = sorted({int(time_ms) // 3_600_000 * 3600 for time_ms in (times.min(), times.max())})
        batch = MetricBatch()
        for metric, number, series in zip(metrics.tolist(), numbers.tolist(), labels, strict=True):
            names, texts = zip(*series, strict=True)
            for at in hours:
                batch.new_series.add(metric=metric, series=number, hour=at, label_names=names, label_values=texts)
        await writer.write(METRICS, codec.encode(DEFAULT_TENANT, 1, batch.SerializeToString()), f"{case.name}-{hour}-series")
        scrapes = max(1, BATCH_SAMPLES // len(labels))
        for first in range(0, times.shape[1], scrapes):
            some = slice(first, first + scrapes)
            width = times[:, some].shape[1]
            body = b"".join(
                _packed(tag, column)
                for tag, column in (
                    (0x0A, np.repeat(metrics, width)),
                    (0x12, np.repeat(numbers, width)),
                    (0x1A, times[:, some]),
                    (0x22, values[:, some]),
                )
            )
            await writer.write(METRICS, codec.encode(DEFAULT_TENANT, 1, body), f"{case.name}-{hour}-{first}")
    await merge_hours(clickhouse)


async def merge_hours(clickhouse: ClickHouse) -> None:
    """Merge the hours before the newest to one part each, as a shard does by itself ten minutes after their end."""
    sql = "SELECT DISTINCT partition_id FROM system.parts WHERE active AND database = {database:String} AND table = 'samples' ORDER BY partition_id"
    hours = [row[0].decode() for row in await clickhouse.query(sql, {"database": DATABASE})]
    for hour in hours[:-1]:
        await clickhouse.command(f"OPTIMIZE TABLE {DATABASE}.samples PARTITION ID '{hour}' FINAL")


def _packed(tag: int, column: Any) -> bytes:
    content = np.ascontiguousarray(column).tobytes()
    return bytes([tag]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def load_prometheus(prometheus: Prometheus, case: Case) -> None:
    """Send the samples by remote write."""
    labels = series_of(case)
    for times, values in samples_of(case):
        prometheus.write_arrays(labels, times, values)


@asynccontextmanager
async def query_process(node: HotNode) -> AsyncIterator[tuple[str, psutil.Process]]:
    """Run tael's query API in its own process."""
    command = [sys.executable, "-m", "bench.promql", "--serve", node.url]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip(), psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def serve(url: str) -> None:
    """Run the query API in this process, until SIGTERM."""
    clickhouse, ended = ClickHouse(url, DATABASE), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with serving(MemorySpans(), series=ClickHouseSeries(clickhouse)) as api:
        print(api.url, flush=True)
        await ended.wait()
    await clickhouse.close()


def timed(url: str, case: Case, query: str) -> tuple[float, tuple[int, int]]:
    """The seconds until the body was complete, and the numbers of its series and samples."""
    parameters = {"query": query, "start": END_S - case.hours * 3600, "end": END_S, "step": case.step}
    request = urllib.request.Request(f"{url}/api/v1/query_range", data=urlencode(parameters).encode())  # noqa: S310  # a loopback http URL
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310  # the same
        body = answer.read()
    return time.perf_counter() - began, (body.count(b'{"metric":'), body.count(b'"],[') + body.count(b'"]]'))


@dataclass(frozen=True)
class Measured:
    """Medians of one query on one side, in milliseconds: of its duration and of its CPU time; and the numbers of series and samples."""

    wall: float
    cpu: float
    given: tuple[int, int]

    def like(self, other: Measured, query: str) -> bool:
        """Whether both gave the same numbers of series and samples; of equal values, topk may choose different series."""
        return self.given[1] == other.given[1] and (self.given[0] == other.given[0] or query.startswith("topk"))


@dataclass(frozen=True)
class Side:
    """The URL of one side, and the processes that serve it."""

    url: str
    processes: list[psutil.Process]


def measure(sides: Sequence[Side], case: Case, query: str) -> list[Measured]:
    """Query each side once for warmth, then all in turn a few times."""
    given = [timed(side.url, case, query)[1] for side in sides]
    walls, cpus = [[list[float]() for _ in sides] for _ in range(2)]
    for _ in range(REPEATS):
        for side, wall, cpu in zip(sides, walls, cpus, strict=True):
            before = cpu_seconds(side.processes)
            wall.append(timed(side.url, case, query)[0])
            cpu.append(cpu_seconds(side.processes) - before)
    medians = [[statistics.median(times) * 1000 for times in several] for several in (walls, cpus)]
    return [Measured(*one) for one in zip(*medians, given, strict=True)]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """The CPU seconds that the processes have used so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


async def run_case(case: Case, directory: Path) -> None:
    """Load the data, run the queries, and print the results."""
    with HotNode(directory / "hot") as node, Prometheus(directory / "prometheus") as prometheus:
        clickhouse = ClickHouse(node.url, DATABASE)
        await ClickHouseSchema(clickhouse).migrate()
        began = time.perf_counter()
        await load_tael(clickhouse, case)
        loaded = time.perf_counter()
        await asyncio.to_thread(load_prometheus, prometheus, case)
        print(f"\n{case.name}: loaded in {loaded - began:.0f} s and {time.perf_counter() - loaded:.0f} s\n")
        assert node.process is not None
        async with query_process(node) as (url, process):
            print(f"hot node {node.process.pid}, query process {process.pid}, Prometheus {prometheus.pid}\n")
            ours = Side(url, [psutil.Process(node.process.pid), process])
            theirs = Side(prometheus.url, [psutil.Process(prometheus.pid)])
            print("| query | tael ms | Prometheus ms | ratio | tael CPU ms | Prometheus CPU ms |\n| --- | --- | --- | --- | --- | --- |")
            for name, query in QUERIES.items():
                here, there = await asyncio.to_thread(measure, (ours, theirs), case, query)
                if not here.like(there, query):
                    sys.exit(f"{name}: tael gave {here.given} series and samples, Prometheus {there.given}")
                print(
                    f"| {name} | {here.wall:.0f} | {there.wall:.0f} | {here.wall / there.wall:.2f} | {here.cpu:.0f} | {there.cpu:.0f} |",
                    flush=True,
                )
            print(f"\nload average {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
        await clickhouse.close()


def version() -> str:
    """The version of Prometheus."""
    answer = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=True)
    return (answer.stdout or answer.stderr).splitlines()[0]


def main() -> None:
    """Run the benchmarks that the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=[case.name for case in CASES])
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        uvloop.run(serve(chosen.serve))
        return
    if not installed():
        sys.exit("prometheus is not installed: apt-get install prometheus")
    print(version())
    for case in CASES:
        if case.name == chosen.only or (chosen.only is None and (chosen.full or case.name != "10k-24h")):
            with tempfile.TemporaryDirectory(prefix="bench-promql-") as directory:
                asyncio.run(run_case(case, Path(directory)))


if __name__ == "__main__":
    main()
