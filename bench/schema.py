"""The cost of the hot schema: the engine time of an insert and of each part of it, bytes per span, and the time of reads.

    python -m bench.schema --spans 1000000
    python -m bench.schema --spans 0 --llm 1 --rounds 3 --only 'as it is'

Spans with 11 attributes and 5 resource attributes, with random ids, ten per trace, spread over 24 hours; 1 in 50 has an event, 1 in 100 (or
the share given by ``--llm``) is an LLM call; with ``--spans 0`` only inserts are measured. One hot node; engine time is CPU time of its
process, without merges while parts are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tael.model.signals import TRACES
from tael.model.time import TimeRange
from tael.otlp.anyvalue import encode_attributes
from tael.storage.clickhouse import flatten, llm
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.wal import codec
from tests.support.hotnode import HotNode
from tests.support.storage import span_query

START_NS = 1_790_000_000_000_000_000
DAY_NS = 86_400 * 10**9
VIEWS = {
    "no trace index": "spans_to_trace_index_2",
    "no attribute keys": "spans_to_span_attribute_keys",
    "no payload references": "spans_to_payload_references",
}
"""Variants that lack a view of the table."""
BATCH, PER_REQUEST = 20_000, 100
SERVICES = ("cart", "checkout", "frontend", "payment", "shipping", "search", "email", "ads", "currency", "agent")


def make_span(span: Span, rng: random.Random, trace_id: bytes, parent: bytes, start_ns: int, llm: float) -> None:
    """Fill in a span as a shop's HTTP instrumentation would, or an agent's."""
    span.trace_id, span.span_id, span.parent_span_id = trace_id, rng.randbytes(8), parent
    span.name, span.kind = f"GET /{rng.choice(SERVICES)}/{rng.randrange(5)}", Span.SPAN_KIND_SERVER
    span.start_time_unix_nano, span.end_time_unix_nano = start_ns, start_ns + rng.randrange(10**5, 10**8)
    span.status.code = Span.SPAN_KIND_SERVER if rng.random() < 0.02 else 0  # type: ignore[assignment]  # 2 is ERROR
    attributes = {
        "http.request.method": "GET",
        "http.route": f"/{rng.choice(SERVICES)}/{{id}}",
        "url.path": f"/item/{rng.randrange(10**5)}",
        "server.address": f"10.0.0.{rng.randrange(200)}",
        "user_agent.original": "bench/1.0 (linux)",
        "client.address": f"192.168.1.{rng.randrange(250)}",
        "session.id": f"s-{rng.randrange(10**6)}",
        "http.response.status_code": rng.choice((200, 200, 200, 404, 500)),
        "server.port": 443,
        "http.response.body.size": rng.randrange(9_000),
        "cache.hit": rng.random() < 0.3,
    }
    if rng.random() < llm:
        attributes |= {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m-1", "gen_ai.usage.input_tokens": rng.randrange(900)}
    span.attributes.extend(encode_attributes(attributes))
    if rng.random() < 0.02:
        span.events.add(time_unix_nano=start_ns, name="exception").attributes.extend(encode_attributes({"exception.type": "KeyError"}))


def batch(rng: random.Random, spans: int, start_ns: int, llm: float = 0.01) -> tuple[bytes, bytes]:
    """A joined body of about a minute, and the id of one of its traces."""
    bodies, trace_id, parent = [], b"", b""
    for _ in range(max(1, spans // PER_REQUEST)):
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        resource = {"service.name": rng.choice(SERVICES), "service.version": "1.4.2", "host.name": f"node-{rng.randrange(9)}"}
        group.resource.attributes.extend(encode_attributes({**resource, "deployment.environment.name": "b", "process.pid": 7}))
        scope = group.scope_spans.add()
        for index in range(min(spans, PER_REQUEST)):
            if index % 10 == 0:
                trace_id, parent = rng.randbytes(16), b""
            make_span(span := scope.spans.add(), rng, trace_id, parent, start_ns + rng.randrange(60 * 10**9), llm)
            parent = span.span_id
        bodies.append(codec.encode("t1", start_ns, request.SerializeToString()))
    return b"".join(bodies), trace_id


def variants(select: str) -> dict[str, str]:
    """The flattening as it is, and variants without one of its parts."""
    lines = select.splitlines(keepends=True)
    no_llm = "".join(line for line in lines if " AS llm_" not in line).replace(f",\n  {llm.call_tuple('sp')} AS call", "")
    no_events = "".join(line for line in lines if " AS `events." not in line and " AS `links." not in line)
    no_maps = "".join(line for line in lines if " AS attributes_" not in line)
    return {"as it is": select, "no llm columns": no_llm, "no events and links": no_events, "no span attributes": no_maps}


async def alter(clickhouse: ClickHouse, name: str, select: str) -> None:
    """Change the database of ``clickhouse`` to a variant."""
    database = clickhouse.database
    view = f"{database}.{flatten.LANDING_TABLE}_to_spans"
    await clickhouse.command(f"DROP VIEW {view}")
    if name in VIEWS:
        await clickhouse.command(f"DROP VIEW {database}.{VIEWS[name]}")
    target = "spans"
    if name == "to nowhere":
        target = "nowhere"
        await clickhouse.command(f"CREATE TABLE {database}.nowhere AS {database}.spans ENGINE = Null")
    await clickhouse.command(f"CREATE MATERIALIZED VIEW {view} TO {database}.{target} AS {select}")


async def insert_costs(url: str, process: psutil.Process, rng: random.Random, chosen: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Engine milliseconds per insert of 500 and of 20k spans: minimum and median of several rounds through all variants."""
    bodies = {spans: batch(rng, spans, START_NS, chosen.llm)[0] for spans in (500, BATCH)}
    names = chosen.only or [*variants(flatten.spans_select("")), *VIEWS, "to nowhere"]
    shards = {name: ClickHouse(url, f"costs_{index}") for index, name in enumerate(names)}
    for name, clickhouse in shards.items():
        await ClickHouseSchema(clickhouse).migrate()
        selects = variants(flatten.spans_select(f"{clickhouse.database}.{flatten.LANDING_TABLE}"))
        await alter(clickhouse, name, selects.get(name, selects["as it is"]))
        await clickhouse.command("SYSTEM STOP MERGES")
    used: dict[str, dict[int, list[float]]] = {name: {spans: [] for spans in bodies} for name in names}
    for index in range(chosen.rounds):
        for name, clickhouse in shards.items():
            for spans, body in bodies.items():
                before = process.cpu_times()
                await ClickHouseWriter(clickhouse).write(TRACES, body, f"{spans}-{index}")
                after = process.cpu_times()
                used[name][spans].append((after.user + after.system - before.user - before.system) * 1000)
    for clickhouse in shards.values():
        await clickhouse.command(f"DROP DATABASE {clickhouse.database}")
        await clickhouse.close()
    return {
        name: {
            f"{spans} spans, {word}": round(of(took))
            for spans, took in found.items()
            for word, of in (("least", min), ("median", statistics.median))
        }
        for name, found in used.items()
    }


async def latency(ask: Callable[[int], Awaitable[object]], rounds: int = 15) -> dict[str, float]:
    """Milliseconds from the call to the models: median and maximum."""
    took = []
    for index in range(rounds):
        began = time.perf_counter()
        await ask(index)
        took.append((time.perf_counter() - began) * 1000)
    return {"p50": round(statistics.median(took), 1), "max": round(max(took), 1)}


async def reads(clickhouse: ClickHouse, ids: list[bytes]) -> dict[str, dict[str, float]]:
    """Measure the reader's queries over the stored spans."""
    reader = ClickHouseSpans(clickhouse)
    day, hour = (
        TimeRange(START_NS, START_NS + DAY_NS + 60 * 10**9),
        TimeRange(START_NS + DAY_NS // 2, START_NS + DAY_NS // 2 + 3_600 * 10**9),
    )
    queries = {
        "newest 20 of a day": span_query(day, limit=20),
        "newest 20 of a service, a day": span_query(day, limit=20, service="cart"),
        "a rare attribute value, a day": span_query(day, limit=20, attributes=[("session.id", "s-777")]),
        "a common attribute value, an hour": span_query(hour, limit=20, attributes=[("http.response.status_code", "500")]),
        "service, errors, slow, an hour": span_query(hour, limit=20, service="cart", status_code=2, min_duration_ns=50_000_000),
        "by model, a day": span_query(day, limit=20, model="m-1"),
    }
    result = {name: await latency(lambda _, q=query: reader.find_spans("t1", q)) for name, query in queries.items()}  # type: ignore[misc]  # the default binds it
    result["trace by id"] = await latency(lambda index: reader.get_trace("t1", ids[index * 7 % len(ids)]), 40)
    result["trace by unknown id"] = await latency(lambda _: reader.get_trace("t1", os.urandom(16)))
    result["services of an hour"] = await latency(lambda _: reader.list_services("t1", hour))
    result["services of a day"] = await latency(lambda _: reader.list_services("t1", day), 5)
    return result


async def fill(clickhouse: ClickHouse, rng: random.Random, spans: int) -> tuple[list[bytes], float]:
    """Store the given number of spans over a day; return a trace id for each batch, and the spans per second."""
    count = spans // BATCH
    ids, took = [], 0.0
    for index in range(count):
        body, trace_id = batch(rng, BATCH, START_NS + index * DAY_NS // count)
        began = time.perf_counter()
        await ClickHouseWriter(clickhouse).write(TRACES, body, f"fill-{index}")
        took += time.perf_counter() - began
        ids.append(trace_id)
    return ids, round(spans / took)


async def sizes(clickhouse: ClickHouse) -> dict[str, float]:
    """Bytes per span by table and, for the largest one, by column; with one part per hour."""
    database = clickhouse.database
    for table in ("spans", "trace_index"):
        await clickhouse.command(f"OPTIMIZE TABLE {database}.{table} FINAL")
    by_table = "SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active AND database = {database:String} GROUP BY table"
    by_column = (
        "SELECT column, sum(column_data_compressed_bytes) AS size FROM system.parts_columns\n"
        "WHERE active AND database = {database:String} AND table = 'spans' GROUP BY column ORDER BY size DESC LIMIT 10"
    )
    ((rows,),) = await clickhouse.query(f"SELECT count() FROM {database}.spans", {})
    found = [row for sql in (by_table, by_column) for row in await clickhouse.query(sql, {"database": database})]
    return {name.decode(): round(size / rows, 2) for name, size in found}


async def measure(chosen: argparse.Namespace, directory: Path) -> dict[str, object]:
    """Measure everything on one hot node."""
    rng = random.Random(7)
    with HotNode(directory / "hot") as node:
        assert node.process is not None
        process = psutil.Process(node.process.pid)
        filled = ClickHouse(node.url, "filled")
        costs = await insert_costs(node.url, process, rng, chosen)
        if not chosen.spans:
            return {"insert, engine ms": costs}
        await ClickHouseSchema(filled).migrate()
        await filled.command("SYSTEM START MERGES")
        ids, rate = await fill(filled, rng, chosen.spans)
        result = {"insert, engine ms": costs, "spans": chosen.spans, "spans a second": rate, "bytes a span": await sizes(filled)}
        result["reads, ms"] = await reads(filled, ids)
        result["memory, MiB"] = process.memory_info().rss >> 20
        await filled.close()
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--llm", type=float, default=0.01, help="share of LLM calls where variants are compared")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", action="append", help="a variant to compare; may be repeated (default all)")
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(asyncio.run(measure(parser.parse_args(), Path(name))), indent=2))


if __name__ == "__main__":
    main()
