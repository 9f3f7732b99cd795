"""The cost of the index of references: bytes per reference, and how long the compactor's first look at a day takes.

    python -m bench.references --traces 300000

A day of traces with three payloads each: one of a hundred system prompts, and their own question and answer. One hot node.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.collecting import ClickHouseCollect
from tael.storage.clickhouse.schema import ClickHouseSchema
from tests.support.hotnode import HotNode

DAY = 1_790_000_000 // 86_400 * 86_400
SHARED = "toFixedString(concat(sipHash128(number % 100), sipHash128(number % 100, 1)), 32)"
OWN = "randomFixedString(32)"
_THEMSELVES = "SELECT tenant, hash, hour, toFixedString('', 16), max(received_at) FROM {database}.made GROUP BY tenant, hash, hour"
_LIMITS = Limits(seconds=300)


async def fill(clickhouse: ClickHouse, hashes: str, traces: int) -> None:
    """Insert one payload for each trace, and its references."""
    rows = (
        f"SELECT 't1' AS tenant, {hashes} AS hash, toDateTime({DAY} + intDiv(number * 24, {traces}) * 3600, 'UTC') AS hour,"
        f" sipHash128(number, 2) AS item, now64(9) AS received_at FROM numbers({traces})"
    )
    for statement in (
        f"CREATE TABLE {clickhouse.database}.made ENGINE = Memory AS {rows}",
        f"INSERT INTO {clickhouse.database}.payload_references SELECT * FROM {clickhouse.database}.made",
        f"INSERT INTO {clickhouse.database}.payload_references {_THEMSELVES.format(database=clickhouse.database)}",
        f"DROP TABLE {clickhouse.database}.made SYNC",
    ):
        await clickhouse.command(statement, {}, _LIMITS)


async def measure(traces: int, directory: Path) -> dict[str, object]:
    """Measure on one hot node; milliseconds are the minimum of five."""
    with HotNode(directory / "hot") as node:
        clickhouse = ClickHouse(node.url, "referred")
        await ClickHouseSchema(clickhouse).migrate()
        for hashes in (SHARED, OWN, OWN):
            await fill(clickhouse, hashes, traces)
        await clickhouse.command(f"OPTIMIZE TABLE {clickhouse.database}.payload_references FINAL", {}, _LIMITS)
        parts = "SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = {database:String} AND table = 'payload_references'"
        [(rows, size)] = await clickhouse.query(parts, {"database": clickhouse.database})
        store, now_ns, took = ClickHouseCollect(clickhouse), time.time_ns(), []
        for _ in range(5):
            began = time.perf_counter()
            await store.condemn(DAY * 10**9, now_ns, now_ns, now_ns)
            await store.strays(DAY * 10**9, 1_000)
            took.append((time.perf_counter() - began) * 1000)
        await clickhouse.close()
    return {
        "rows": int(rows),
        "bytes a row": round(int(size) / int(rows), 1),
        "bytes a reference": round(int(size) / (3 * traces), 1),
        "a day's first look, ms": round(min(took)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=300_000)
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(asyncio.run(measure(parser.parse_args().traces, Path(name))), indent=2))


if __name__ == "__main__":
    main()
