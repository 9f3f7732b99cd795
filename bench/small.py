"""What a small question costs: bench.beside's questions over its data, of one hot node through the query service, without Tempo, Loki, NATS
and ingest.

    python -m bench.small --directory /tmp/small                 fills the directory, if it is new, and asks
    python -m bench.small --directory /tmp/small --only search

The hour is written in inserts of 20,000 items and not merged further, as an hour is found that is being written. CPU is that of the hot
node's process, and of this one: the query service and its client. It does not depend on the clock, but grows with what else uses the cores:
compare versions in turn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import secrets
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvloop

from bench.beside import Question, log_questions, span_questions
from bench.beside_data import RECORDS_A_REQUEST, TRACES_A_REQUEST, log_requests, span_requests
from tael.model.signals import LOGS, TRACES
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.logs import ClickHouseLogs
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.traceql.reader import ClickHouseSpansets
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.wal import codec
from tests.support.hotnode import HotNode
from tests.support.query import Api, serving

END_S: Final = 1_795_984_680
_REQUESTS_AN_INSERT: Final = 5
_VALUES: Final = 11


def cpu_ms(pid: int) -> float:
    """The CPU time of a process, which Linux keeps as a clock."""
    return time.clock_gettime((~pid << 3) | 2) * 1e3


async def fill(clickhouse: ClickHouse, items: int) -> None:
    """Write as many spans and log records, as the writer of a shard would."""
    await ClickHouseSchema(clickhouse).migrate()
    writer = ClickHouseWriter(clickhouse)
    for signal, bodies in (
        (TRACES, (body for body, *_ in span_requests(items // 10, END_S))),
        (LOGS, (body for body, _ in log_requests(items, END_S))),
    ):
        while batch := list(itertools.islice(bodies, _REQUESTS_AN_INSERT)):
            await writer.write(signal, b"".join(codec.encode("default", END_S * 10**9, body) for body in batch), secrets.token_hex(8))


def questions() -> Iterator[tuple[str, Question]]:
    """Each with the prefix of its API."""
    picked = [(trace, path) for _, trace, path in span_requests(TRACES_A_REQUEST * _VALUES, END_S)]
    numbers = [number for _, number in log_requests(RECORDS_A_REQUEST * _VALUES, END_S)]
    for question in span_questions(END_S, [trace for trace, _ in picked], [path for _, path in picked]):
        yield "/tempo", question
    for question in log_questions(END_S, numbers):
        yield "/loki-api", question


async def ask(api: Api, prefix: str, question: Question, at: int) -> object:
    """The results of one answer, or its status."""
    parameters = dict(question.parameters(at % _VALUES))
    path = question.path.replace("$", parameters.pop("$", ""))
    async with api.session.get(f"{api.url}{prefix}{path}", params=parameters) as answer:
        body = await answer.read()
        return question.results(json.loads(body)) if answer.status == 200 else answer.status


async def run(directory: Path, items: int, rounds: int, only: str) -> None:
    """Fill if necessary, ask, and print medians."""
    new = not directory.exists()
    with HotNode(directory) as node:
        assert node.process is not None
        clickhouse, pids = ClickHouse(node.url, "bench"), (node.process.pid, os.getpid())
        if new:
            await fill(clickhouse, items)
        readers = {"logs": ClickHouseLogs(clickhouse), "spansets": ClickHouseSpansets(clickhouse)}
        print("| question | CPU of the hot node, ms | of the query service, ms | results |\n| --- | --- | --- | --- |")
        async with serving(ClickHouseSpans(clickhouse), None, **readers) as api:  # type: ignore[arg-type]  # readers of its ports
            for prefix, question in questions():
                if only not in question.name:
                    continue
                used = list[tuple[float, ...]]()
                for at in range(rounds + 3):
                    before = [cpu_ms(pid) for pid in pids]
                    results = await ask(api, prefix, question, at)
                    used.append(tuple(cpu_ms(pid) - was for pid, was in zip(pids, before, strict=True)))
                medians = " | ".join(f"{statistics.median(own):.0f}" for own in zip(*used[3:], strict=True))
                print(f"| {question.name} | {medians} | {str(results)[:50]} |", flush=True)
        print("load average", os.getloadavg())
        await clickhouse.close()


def main() -> None:
    """Run what the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="only questions whose name holds this text")
    chosen = parser.parse_args()
    uvloop.run(run(chosen.directory, chosen.items, chosen.rounds, chosen.only))


if __name__ == "__main__":
    main()
