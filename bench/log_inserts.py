"""Engine time of an insert of log records, by landing table: what a new landing table costs against the one before it.

    python -m bench.log_inserts logs_in_3 logs_in_4

Records of bench.beside_data by OTLP (``--pushed``: as if they had come by Loki's push), in inserts of 500 and of 20,000, round by round
into each table in turn, without merges. Engine time is CPU of the hot node's process in ms: the least and the median.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

import psutil
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bench.beside_data import log_requests
from tael.model.signals import LOGS
from tael.model.streams import PUSHED_SCOPE
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.writer import settings_of
from tael.wal import codec
from tests.support.hotnode import HotNode

END_S = 1_790_006_400


def body_of(records: int, *, pushed: bool) -> bytes:
    """A joined body of so many records, a hundred to a request."""
    entries = []
    for encoded, _ in log_requests(records, END_S):
        request = ExportLogsServiceRequest.FromString(encoded)
        for group in request.resource_logs:
            for scoped in group.scope_logs:
                if pushed:
                    scoped.scope.name = PUSHED_SCOPE
        entries.append(codec.encode("bench", END_S * 10**9, request.SerializeToString()))
    return b"".join(entries)


async def measure(node: HotNode, chosen: argparse.Namespace) -> None:
    """Print the costs of each table."""
    clickhouse = ClickHouse(node.url, "inserts")
    assert node.process is not None
    process = psutil.Process(node.process.pid)
    await ClickHouseSchema(clickhouse).migrate()
    await clickhouse.command("SYSTEM STOP MERGES")
    for records in (500, 20_000):
        body, used = body_of(records, pushed=chosen.pushed), {table: list[float]() for table in chosen.tables}
        for round_ in range(-1, chosen.rounds):
            for table in chosen.tables if round_ % 2 else reversed(chosen.tables):
                before = process.cpu_times()
                await clickhouse.insert(table, body, "ProtobufSingle", settings_of(LOGS, f"{table} {records} {round_}"))
                after = process.cpu_times()
                if round_ >= 0:
                    used[table].append((after.user + after.system - before.user - before.system) * 1000)
        for table, took in used.items():
            print(
                f"{records:6} records  {table}  least {min(took):6.0f}  median {statistics.median(took):6.0f}  mean {statistics.mean(took):6.1f}"
            )
    await clickhouse.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--pushed", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, HotNode(Path(directory) / "hot") as hot_node:
        asyncio.run(measure(hot_node, arguments))
