"""CPU that LogQL's queries over rows cost the query service and the hot node, in process, without HTTP.

    python -m bench.log_rows                  over the 16,131 lines of service-0 among 44,000 records of bench.beside_data
    python -m bench.log_rows --only metric

Each query runs once for warmth and then ``--rounds`` times; the least and the median are shown, of CPU of this process and of the hot
node's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bench.beside_data import HOUR_NS, log_requests
from services.query.logql.engine import LogqlEngine, LogqlOptions, Wanted
from tael.logql.fields import Fields
from tael.logql.parse import parse, parse_log
from tael.model.signals import LOGS
from tael.model.time import TimeRange
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.logs import ClickHouseLogs
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.vectors.values import Steps
from tael.wal import codec
from tests.support.hotnode import HotNode

RECORDS = 44_000
LOGFMT = "logfmt"
"""The tenant with the same lines as pairs, and the duration in seconds."""
END_S = 1_790_006_400
RANGE = TimeRange(END_S * 10**9 - HOUR_NS, END_S * 10**9)
MINUTE_NS = 60 * 10**9
STEPS = Steps(RANGE.start_ns + MINUTE_NS, RANGE.end_ns, MINUTE_NS)
ONE = '{service_name="service-0"}'
ALL = '{service_name=~".+"}'


def queries(engine: LogqlEngine) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The queries by name; each returns the number of its lines or series."""

    def lines(text: str, limit: int) -> Callable[[], Awaitable[int]]:
        async def run() -> int:
            return len((await engine.lines("bench", parse_log(text), Wanted(RANGE, limit))).value)

        return run

    def metric(text: str, tenant: str = "bench") -> Callable[[], Awaitable[int]]:
        async def run() -> int:
            expr: Any = parse(text)
            found: Any = (await engine.value(tenant, expr, STEPS)).value
            return len(found.labels)

        return run

    async def fields() -> int:
        return len(Fields((await engine.lines("bench", parse_log(ONE), Wanted(RANGE, 1000))).value, 1000).described())

    return {
        "lines, json, two filters": lines(f"{ONE} | json | status = 404 | took_ms = 77", 100),
        "lines, json with paths, filters": lines(f'{ONE} | json s="status", t="took_ms" | s = 404 | t = 77', 100),
        "lines, json, a text that is rare": lines(f'{ONE} | json | path = "/api/v1/thing-199"', 100),
        "lines, 5,000 without a stage": lines(ONE, 5_000),
        "lines, 1,000 with json": lines(f"{ONE} | json", 1_000),
        "metric, json, by status": metric(f"sum by (status) (count_over_time({ONE} | json [1m]))"),
        "metric, json, filter and by path": metric(f"sum by (path) (count_over_time({ONE} | json | status >= 500 [1m]))"),
        "metric, json, filter of most, by status": metric(f"sum by (status) (count_over_time({ONE} | json | status < 500 [1m]))"),
        "metric, all services, filter of most, by status": metric(f"sum by (status) (count_over_time({ALL} | json | took_ms > 20 [1m]))"),
        "metric, json, unwrap, sum": metric(f"sum by (status) (sum_over_time({ONE} | json | unwrap took_ms [1m]))"),
        "metric, all services, unwrap, average": metric(f"avg_over_time({ALL} | json | unwrap took_ms [1m]) by (status)"),
        "metric, json, unwrap, quantile": metric(f"quantile_over_time(0.9, {ONE} | json | unwrap took_ms [1m]) by (status)"),
        "metric, json, unwrap, maximum": metric(f"max_over_time({ONE} | json | unwrap took_ms [1m]) by (path)"),
        "metric, logfmt, by status": metric(f"sum by (status) (count_over_time({ONE} | logfmt [1m]))", LOGFMT),
        "metric, logfmt, filter and by path": metric(f"sum by (path) (count_over_time({ONE} | logfmt | status >= 500 [1m]))", LOGFMT),
        "metric, logfmt, unwrap fractions, sum": metric(f"sum by (status) (sum_over_time({ONE} | logfmt | unwrap took_s [1m]))", LOGFMT),
        "metric, logfmt, unwrap durations, quantile": metric(
            f"quantile_over_time(0.9, {ONE} | logfmt | unwrap duration(took) [1m]) by (status)", LOGFMT
        ),
        "metric, all services, logfmt, unwrap fractions, average": metric(
            f"avg_over_time({ALL} | logfmt | unwrap took_s [1m]) by (status)", LOGFMT
        ),
        "metric, line_format, pattern": metric(
            f'sum by (w) (count_over_time({ONE} | json | line_format "{{{{.msg}}}}" | pattern "<w> <_>" | w="word0" [1m]))'
        ),
        "metric, all services, by status": metric(f"sum by (status) (count_over_time({ALL} | json [1m]))"),
        "fields of 1,000 lines": fields,
    }


async def measure(node: HotNode, rounds: int, only: str) -> None:
    """Fill the node, run the queries and print their costs."""
    clickhouse = ClickHouse(node.url, "bench", node.user, node.password)
    await ClickHouseSchema(clickhouse).migrate()
    writer = ClickHouseWriter(clickhouse)
    for place, (body, _) in enumerate(log_requests(RECORDS, END_S)):
        await writer.write(LOGS, codec.encode("bench", END_S * 10**9, body), f"bench-{place}")
        await writer.write(LOGS, codec.encode(LOGFMT, END_S * 10**9, as_pairs(body)), f"logfmt-{place}")
    await clickhouse.command("OPTIMIZE TABLE bench.logs FINAL")
    engine = LogqlEngine(ClickHouseLogs(clickhouse), LogqlOptions())
    assert node.process is not None
    own, other = psutil.Process(), psutil.Process(node.process.pid)
    print("| | query, ms of CPU: least, median | hot node | clock, median | result |\n| --- | --- | --- | --- | --- |")
    for name, run in queries(engine).items():
        if only not in name:
            continue
        result = await run()
        taken: list[tuple[float, float, float]] = []
        for _ in range(rounds):
            before, began = (_cpu(own), _cpu(other)), time.perf_counter()
            await run()
            taken.append((_cpu(own) - before[0], _cpu(other) - before[1], time.perf_counter() - began))
        mine, theirs, clock = ([1000 * value for value in column] for column in zip(*taken, strict=True))
        print(
            f"| {name} | {min(mine):.0f}, {statistics.median(mine):.0f} | {min(theirs):.0f}, {statistics.median(theirs):.0f} "
            f"| {statistics.median(clock):.0f} | {result} |",
            flush=True,
        )
    await clickhouse.close()


def as_pairs(body: bytes) -> bytes:
    """The request with each line of JSON as one of logfmt."""
    request = ExportLogsServiceRequest.FromString(body)
    for record in (record for group in request.resource_logs for scope in group.scope_logs for record in scope.log_records):
        line = json.loads(record.body.string_value)
        took = line["took_ms"]
        record.body.string_value = f'msg="{line["msg"]}" path={line["path"]} status={line["status"]} took_s={took / 1000} took={took}ms'
    return request.SerializeToString()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def main() -> None:
    """Run as a script."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--only", default="", help="part of a query's name")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory, HotNode(Path(directory) / "hot") as node:
        asyncio.run(measure(node, options.rounds, options.only))


if __name__ == "__main__":
    main()
