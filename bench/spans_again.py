"""What it would cost to count a span only once that is resent in another request: by reading its ids, and by looking them up at insert.

python -m bench.spans_again [--spans 5000000]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import psutil

from tael.storage.clickhouse.client import ClickHouse, Limits
from tests.support.hotnode import HotNode

BATCH = 20_000
_LIMITS = Limits(seconds=120, memory_bytes=8 << 30)
_TABLE = """CREATE TABLE {name} (service LowCardinality(String), start_time DateTime64(9), trace_id FixedString(16), span_id FixedString(8),
duration_ns Int64) ENGINE = MergeTree ORDER BY {order}"""
_ROWS = """INSERT INTO {name} SELECT concat('service-', toString(number % 20)), toDateTime64(1790000000, 9) + intDiv(number, 1000),
MD5(toString(intDiv(number, 10) + {offset})), reinterpretAsFixedString(sipHash64(number + {offset})), number % 1000000 FROM numbers({count})"""
_STATEMENTS = {
    "services, counted": "SELECT service, count() FROM bench.spans GROUP BY service",
    "services, counted exactly": "SELECT service, uniqExact(trace_id, span_id, start_time) FROM bench.spans GROUP BY service",
    "ids of 20,000 new spans, looked up": """SELECT count() FROM bench.batch WHERE (trace_id, span_id) NOT IN (
SELECT trace_id, span_id FROM bench.ids WHERE trace_id IN (SELECT trace_id FROM bench.batch))""",
}


async def measure(clickhouse: ClickHouse, process: psutil.Process, sql: str) -> tuple[float, float]:
    """The elapsed and the CPU seconds of a statement, the minimum of three runs."""
    found = []
    for _ in range(3):
        before, started = process.cpu_times(), time.perf_counter()
        await clickhouse.query(sql, {}, _LIMITS)
        after = process.cpu_times()
        found.append((time.perf_counter() - started, after.user + after.system - before.user - before.system))
    return min(found, key=lambda pair: pair[1])


async def run(spans: int) -> None:
    """Fill the tables, measure, and print a table."""
    with tempfile.TemporaryDirectory() as directory, HotNode(Path(directory) / "node") as node:
        assert node.process is not None
        clickhouse, process = ClickHouse(node.url, "default", node.user, node.password), psutil.Process(node.process.pid)
        await clickhouse.command("CREATE DATABASE bench")
        for name, order, count in (
            ("spans", "(service, start_time)", spans),
            ("ids", "(trace_id, span_id)", spans),
            ("batch", "tuple()", BATCH),
        ):
            await clickhouse.command(_TABLE.format(name=f"bench.{name}", order=order))
            await clickhouse.command(_ROWS.format(name=f"bench.{name}", offset=spans if name == "batch" else 0, count=count))
        print(f"| {spans:,} spans | clock, ms | processors, ms |\n| --- | --- | --- |")
        for name, sql in _STATEMENTS.items():
            clock, cpu = await measure(clickhouse, process, sql)
            print(f"| {name} | {clock * 1000:.0f} | {cpu * 1000:.0f} |")
        await clickhouse.close()


def main() -> None:
    """Parse the command line and run; see the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spans", type=int, default=5_000_000)
    asyncio.run(run(parser.parse_args().spans))


if __name__ == "__main__":
    main()
