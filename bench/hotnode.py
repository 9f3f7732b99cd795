"""What the hot node costs: start, memory, a small query, and inserts over HTTP beside the same inserts into the engine in one process.

    python -m bench.hotnode

Spans are decoded and flattened into the suite's own tables. Prints one JSON object; times are milliseconds, memory is MiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.load import Stamper
from services.hotnode.call import Call
from services.hotnode.engine import Engine
from services.hotnode.spool import Budget, Spool
from tael.model.signals import TRACES
from tael.storage.clickhouse.client import INSERT_LIMITS, ClickHouse, Limits
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.wal import codec
from tests.support.hotnode import HotNode

SPANS = 20_000
SPANS_PER_REQUEST = 200
ROUNDS = 15
NATIVE_ROWS = 1_000_000


def bodies(spans: int, count: int) -> list[bytes]:
    """Joined requests as the log holds them, each of new spans."""
    stamper = Stamper(min(spans, SPANS_PER_REQUEST), "bench")
    requests = spans // min(spans, SPANS_PER_REQUEST)
    return [b"".join(codec.encode("default", time.time_ns(), stamper.make()) for _ in range(requests)) for _ in range(count)]


def spread(seconds: list[float]) -> dict[str, float]:
    """Least, median and 99th percentile in milliseconds."""
    least, median, high = min(seconds), statistics.median(seconds), float(np.percentile(seconds, 99))
    return {"min": round(least * 1000, 2), "p50": round(median * 1000, 2), "p99": round(high * 1000, 2)}


async def timed(work: Callable[[int], Awaitable[object]], rounds: int, process: psutil.Process) -> dict[str, float]:
    """Run it so many times, after two that do not count; ``cpu`` is what one run costs ``process``, its merges included."""
    seconds = []
    cpu_began = 0.0
    for index in range(rounds + 2):
        if index == 2:
            cpu_began = cpu_seconds(process)
        began = time.perf_counter()
        await work(index)
        seconds.append(time.perf_counter() - began)
    return {**spread(seconds[2:]), "cpu": round((cpu_seconds(process) - cpu_began) / rounds * 1000, 1)}


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def inserts(writer: ClickHouseWriter, process: psutil.Process) -> dict[str, object]:
    """Small and large batches, each under a token of its own."""
    result: dict[str, object] = {}
    for spans in (SPANS_PER_REQUEST, SPANS):
        made = bodies(spans, ROUNDS + 2)
        work = functools.partial(_write, writer, made)
        result[f"insert_{spans}_spans"] = {**await timed(work, ROUNDS, process), "body_mb": round(len(made[0]) / 1e6, 2)}
    return result


async def _write(writer: ClickHouseWriter, made: list[bytes], index: int) -> None:
    await writer.write(TRACES, made[index], uuid.uuid4().hex)


def small_queries(node: HotNode) -> dict[str, float]:
    """SELECT 1 over one kept connection."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port)
    seconds = []
    for _ in range(1000):
        began = time.perf_counter()
        connection.request("POST", "/", b"SELECT 1")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - began)
    connection.close()
    return spread(seconds)


async def over_http(directory: Path) -> dict[str, object]:
    """Everything that goes through a hot node."""
    began = time.perf_counter()
    with HotNode(directory / "http") as node:
        assert node.process is not None
        process = psutil.Process(node.process.pid)
        result: dict[str, object] = {"start": round((time.perf_counter() - began) * 1000), "idle_rss": process.memory_info().rss >> 20}
        result["select_1"] = small_queries(node)
        clickhouse = ClickHouse(node.url, "tael")
        await ClickHouseSchema(clickhouse).migrate()
        result |= await inserts(ClickHouseWriter(clickhouse), process)
        await clickhouse.command("CREATE TABLE tael.native (a UInt64, b String, c Float64) ENGINE = MergeTree ORDER BY a")
        rows = native_rows(node)
        took = await timed(lambda _: clickhouse.insert("native", rows, "Native", {"async_insert": 0}), 5, process)
        result["native_rows_per_second"] = round(NATIVE_ROWS / took["p50"] * 1000)
        result["rss_after"] = process.memory_info().rss >> 20
        await clickhouse.close()
    return result


def native_rows(node: HotNode) -> bytes:
    """A million rows in Native, made by the node."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port)
    connection.request(
        "POST", "/", f"SELECT number AS a, toString(number) AS b, number / 3 AS c FROM numbers({NATIVE_ROWS}) FORMAT Native".encode()
    )
    rows = connection.getresponse().read()
    connection.close()
    return rows


class InProcess(ClickHouse):
    """Takes the writer's inserts into the engine of this process."""

    def __init__(self, engine: Engine) -> None:
        super().__init__("http://nowhere", "tael")
        self._engine = engine

    async def insert(self, table: str, body: bytes, body_format: str, settings: Mapping[str, Any], limits: Limits = INSERT_LIMITS) -> None:
        """See ClickHouse; ``limits`` are those that go out over HTTP."""
        texts = {name: str(value) for name, value in {**limits.settings(), **settings}.items()}
        connection = self._engine.connect()
        connection.query(Call(b"", "bench", self.database, settings=texts).prelude())
        with contextlib.closing(Spool(Budget(1 << 30), Path("/tmp"))) as spool:
            spool.append(body)
            with spool.as_file() as path:
                connection.query(f"INSERT INTO {table} FROM INFILE '{path}' FORMAT {body_format}")
        connection.close()


async def in_process(directory: Path) -> dict[str, object]:
    """The same inserts into the engine of this process, in the directory of a node that has ended."""
    os.chdir(directory)  # the engine keeps format schemas in the current directory
    engine = Engine(directory / "http" / "engine", {})
    engine.open()
    result = await inserts(ClickHouseWriter(InProcess(engine)), psutil.Process())
    engine.close()
    return result


def main() -> None:
    """Run both and print them; the engine runs once a process, hence the second one."""
    if len(sys.argv) > 1:
        print(json.dumps(asyncio.run(in_process(Path(sys.argv[1])))))
        return
    with tempfile.TemporaryDirectory() as name:
        http_result = asyncio.run(over_http(Path(name)))
        command = [sys.executable, "-m", "bench.hotnode", name]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
    print(json.dumps({"http": http_result, "in_process": json.loads(done.stdout)}, indent=2))


if __name__ == "__main__":
    main()
