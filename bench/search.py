"""The time of reads of spans and log records through the query service, and the CPU that each costs the hot node.

    python -m bench.search                         2 million spans and 1 million log records of one hour
    python -m bench.search --full                  10 million spans and 20 million log records
    python -m bench.search --hours 24 --only services

The data (described in bench/search_data.py) is written once and kept under ``~/.cache/tael``; an hour that was written a while ago is one
part, and so each is merged. Every query is run once for warmth and then ``--rounds`` times, each time with other values; times are from the
request to the whole body, over HTTP, and CPU is that of the hot node's process and of this one, the query service and its client. Bytes per
item include its table and every derived table.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import uvloop

from bench.search_data import END_S, TENANT, fill
from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.logs import ClickHouseLogs
from tael.storage.clickhouse.schema import KEPT, ClickHouseSchema
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.topology import ClickHouseTopology
from tael.storage.clickhouse.traceql.reader import ClickHouseSpansets
from tests.support.hotnode import HotNode
from tests.support.query import Api, serving

DATABASE = "bench"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tael" / "bench-search"
_TABLES = {
    "spans": ("spans", "trace_index", "span_attribute_keys", "red", "service_minutes", "service_hours"),
    "logs": ("logs", "log_streams", "log_attribute_keys"),
}


@dataclass(frozen=True)
class Question:
    """A named request, with the parameters of its n-th round."""

    name: str
    path: Callable[[int], str]
    parameters: Callable[[int], dict[str, Any]]


@dataclass(frozen=True)
class Known:
    """Values that occur in the data set, for queries."""

    traces: list[str]
    sessions: list[str]
    numbers: list[str]
    log_traces: list[str]


async def known(clickhouse: ClickHouse) -> Known:
    """Some ids and values from all over the range."""

    async def some(what: str, table: str, where: str = "1") -> list[str]:
        sql = f"SELECT {what} FROM {DATABASE}.{table} WHERE tenant = '{TENANT}' AND {where} ORDER BY xxHash64({what}) LIMIT 50"  # ours
        return [value.decode() for (value,) in await clickhouse.query(sql, {}, Limits(seconds=120))]

    return Known(
        await some("lower(hex(trace_id))", "spans", "parent_span_id = ''"),
        await some("attributes_string['session.id']", "spans", "parent_span_id = ''"),
        await some("extract(body, 'request ([0-9]+)')", "logs", "xxHash64(serial) % 10000 = 0"),
        await some("lower(hex(trace_id))", "logs", "xxHash64(serial) % 10000 = 0 AND trace_id != toFixedString('', 16)"),
    )


def questions(of: Known, hours: int) -> list[Question]:
    """The queries of the table in bench/RESULTS.md."""
    span = {"start": END_S - hours * 3600, "end": END_S}

    def traces(name: str, **fixed: Any) -> Question:
        return Question(name, lambda _: "/api/v1/traces", lambda at: span | {k: v(at) if callable(v) else v for k, v in fixed.items()})

    def logs(name: str, **fixed: Any) -> Question:
        return Question(name, lambda _: "/api/v1/logs", lambda at: span | {k: v(at) if callable(v) else v for k, v in fixed.items()})

    def tempo(name: str, path: str, **fixed: Any) -> Question:
        return Question(name, lambda _: f"/tempo/api/{path}", lambda at: span | {k: v(at) if callable(v) else v for k, v in fixed.items()})

    def get(at: int) -> str:
        return f"/api/v1/traces/{of.traces[at % len(of.traces)]}"

    def needle(at: int) -> str:
        return f'{{service_name="service-{at % 3}"}} |= "request {of.numbers[at % len(of.numbers)]}"'

    def loki(name: str, path: str, query: Callable[[int], str] = lambda _: "", **fixed: Any) -> Question:
        bounds = {"start": span["start"] * 10**9, "end": END_S * 10**9} | fixed
        return Question(
            name, lambda _: f"/loki-api/loki/api/v1/{path}", lambda at: bounds | ({"query": text} if (text := query(at)) else {})
        )

    def metrics(name: str, text: str) -> Question:
        return tempo(name, "metrics/query_range", q=text, step="15s")

    return [
        Question("trace by id", get, lambda _: {}),
        Question("trace by unknown id", lambda _: f"/api/v1/traces/{os.urandom(16).hex()}", lambda _: {}),
        Question("services", lambda _: "/api/v1/services", lambda _: span),
        Question(
            "services, between minutes", lambda _: "/api/v1/services", lambda at: {"start": span["start"] + 7 + at, "end": END_S - 31 - at}
        ),
        Question("services by Jaeger", lambda _: "/jaeger/api/services", lambda _: {}),
        traces("newest 100"),
        traces("newest 100 of a service", service=lambda at: f"service-{at % 20}"),
        traces("newest 100 errors", status="error"),
        traces("newest 100 of at least 400 ms", min_duration_ms=400),
        traces("newest 100 of at least 540 ms", min_duration_ms=540),
        traces("attribute, common", attribute="http.request.method=PUT"),
        traces("attribute, rare", attribute=lambda at: f"session.id={of.sessions[at % len(of.sessions)]}"),
        traces("attribute, absent value", attribute=lambda at: f"session.id=none-{at}"),
        traces("attribute, absent number", attribute=lambda at: f"http.response.status_code={600 + at}"),
        traces("attribute, absent key", attribute=lambda at: f"no.such.key=none-{at}"),
        traces("resource attribute, common", attribute=lambda at: f"host.name=node-{at % 40}"),
        traces("resource attribute, absent", attribute=lambda at: f"host.name=none-{at}"),
        traces("operation, common", operation=lambda at: f"operation-{at % 9}"),
        traces("operation, absent", operation=lambda at: f"none-{at}"),
        tempo(
            "TraceQL, attribute, rare", "search", q=lambda at: f'{{ span.session.id = "{of.sessions[at % len(of.sessions)]}" }}', limit=20
        ),
        tempo("TraceQL, attribute, of some spans", "search", q=lambda at: f'{{ span.url.path = "/api/v1/item/{at * 7_919}" }}', limit=20),
        tempo("TraceQL, attribute, common", "search", q='{ span.http.request.method = "PUT" }', limit=20),
        tempo("TraceQL, attribute, absent", "search", q=lambda at: f'{{ span.session.id = "none-{at}" }}', limit=20),
        tempo("TraceQL, errors of a service", "search", q='{ resource.service.name = "service-3" && status = error }', limit=20),
        tempo("TraceQL, related", "search", q="{ status = error } >> { kind = client }", limit=20),
        tempo("TraceQL, related, none", "search", q="{ status = error } >> { status = error && duration > 400ms }", limit=20),
        tempo("TraceQL, counted", "search", q="{ status = error } | count() > 2", limit=20),
        metrics("TraceQL, rate by service", "{ } | rate() by (resource.service.name)"),
        metrics("TraceQL, rate by attribute", "{ status = error } | rate() by (span.http.route)"),
        metrics("TraceQL, count_over_time of an attribute", '{ span.http.request.method = "PUT" } | count_over_time()'),
        metrics("TraceQL, quantiles by service", "{ } | quantile_over_time(duration, .5, .9) by (resource.service.name)"),
        metrics("TraceQL, rate of related", "{ status = error } >> { kind = client } | rate()"),
        metrics("TraceQL, rate of counted", "{ status = error } | count() > 1 | rate()"),
        metrics("TraceQL, rate of counted, all", "{ } | count() > 9 | rate()"),
        metrics("TraceQL, compare, of a service", '{ resource.service.name = "service-3" } | compare({ status = error })'),
        metrics("TraceQL, compare, all", "{ } | compare({ status = error })"),
        tempo("tag names", "v2/search/tags"),
        tempo("tag values, attribute", "v2/search/tag/span.http.route/values"),
        tempo("tag values, resource", "v2/search/tag/resource.service.name/values"),
        tempo("tag values, name", "v2/search/tag/name/values"),
        logs("logs, newest 100"),
        logs("logs, of a service", service=lambda at: f"service-{at % 20}"),
        logs("logs, rare word", words=lambda at: of.numbers[at % len(of.numbers)]),
        logs("logs, absent word", words=lambda at: f"none{at}"),
        logs("logs, by trace", trace_id=lambda at: of.log_traces[at % len(of.log_traces)]),
        loki("LogQL, label and needle", "query_range", needle, limit=100),
        loki("LogQL, count by level", "query_range", lambda _: 'sum by (level) (count_over_time({service_name=~".+"}[1m]))', step=60),
        loki(
            "LogQL, count by level, of a service",
            "query_range",
            lambda at: f'sum by (level) (count_over_time({{service_name="service-{at % 3}"}}[1m]))',
            step=60,
        ),
        loki(
            "LogQL, rate by pod",
            "query_range",
            lambda at: f'sum by (k8s_pod_name) (rate({{service_name="service-{at % 3}"}}[1m]))',
            step=60,
        ),
        loki(
            "LogQL, count by label of a needle",
            "query_range",
            lambda at: f'sum by (service_name) (count_over_time({{service_name=~".+"}} |= "word{2000 + at}" [1m]))',
            step=60,
        ),
        loki("LogQL, volume", "index/volume", lambda _: '{service_name=~".+"}'),
        loki("LogQL, volume by minute", "index/volume_range", lambda _: '{service_name=~".+"}', step=60),
        loki("LogQL, detected fields", "detected_fields", lambda at: f'{{service_name="service-{at % 3}"}}'),
        loki("LogQL, detected labels", "detected_labels"),
        loki("LogQL, label values", "label/k8s_pod_name/values"),
    ]


def _cpu_ms(*processes: psutil.Process) -> list[float]:
    return [sum(process.cpu_times()[:2]) * 1000 for process in processes]


async def measure(api: Api, hot_node: psutil.Process, question: Question, rounds: int) -> tuple[list[float], list[list[float]], int]:
    """The milliseconds of each round, the CPU milliseconds of the hot node and of this process, and the size of the last answer.

    A refused query is not repeated.
    """
    clock, cpu, size, own = list[float](), list[list[float]](), 0, psutil.Process()
    for at in itertools.chain([rounds], range(rounds)):
        url, parameters = api.url + question.path(at), {name: str(value) for name, value in question.parameters(at).items()}
        used, began = _cpu_ms(hot_node, own), time.perf_counter()
        async with api.session.get(url, params=parameters) as answer:
            body = await answer.read()
        clock.append((time.perf_counter() - began) * 1000)
        cpu.append([after - before for after, before in zip(_cpu_ms(hot_node, own), used, strict=True)])
        if answer.status not in (200, 404):
            print(f"{question.name}: {answer.status} {body[:500]!r} of {quote(url)} {parameters}")
            break
        size = len(body)
    return clock[1:] or clock, cpu[1:] or cpu, size


async def sizes(clickhouse: ClickHouse) -> dict[str, str]:
    """Bytes per item, by table."""
    sql = "SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active AND database = {database:String} GROUP BY table"
    held = {table.decode(): int(size) for table, size in await clickhouse.query(sql, {"database": DATABASE})}
    found = {}
    for table, beside in _TABLES.items():
        ((rows,),) = await clickhouse.query(f"SELECT count() FROM {DATABASE}.{table}", {})
        found[table] = ", ".join(f"{name} {held[name] / max(1, rows):.2f}" for name in beside if name in held)
    return found


async def run(spans: int, logs: int, hours: int, rounds: int, only: str) -> None:
    """Fill the data set if necessary, run the queries, and print the results."""
    directory = CACHE / f"{spans}-{logs}-{hours}h"
    with HotNode(directory / "hot") as node:
        assert node.process is not None
        clickhouse = ClickHouse(node.url, DATABASE)
        await ClickHouseSchema(clickhouse).migrate()
        if not (directory / "filled").exists():
            await clickhouse.command(f"DROP DATABASE {DATABASE}")
            await ClickHouseSchema(clickhouse).migrate()
            await fill(clickhouse, spans, logs, hours)
            for table in KEPT:
                await clickhouse.command(f"OPTIMIZE TABLE {DATABASE}.{table} FINAL", limits=Limits(seconds=1800))
            (directory / "filled").touch()
        values = await known(clickhouse)
        readers = {
            "logs": ClickHouseLogs(clickhouse),
            "spansets": ClickHouseSpansets(clickhouse),
            "topology": ClickHouseTopology(clickhouse),
        }
        print(f"\n{spans:,} spans and {logs:,} log records of {hours} h; load average {os.getloadavg()[0]:.1f}\n")
        print(
            "| question | p50, ms | p95, ms | CPU of the hot node, ms | of this process | answer, kB |\n| --- | --- | --- | --- | --- | --- |"
        )
        async with serving(ClickHouseSpans(clickhouse), None, **readers) as api:  # type: ignore[arg-type]  # readers of its ports
            for question in questions(values, hours):
                if only in question.name:
                    clock, cpu, size = await measure(api, psutil.Process(node.process.pid), question, rounds)
                    p95 = sorted(clock)[int(len(clock) * 0.95)]
                    means = " | ".join(f"{statistics.mean(used):.0f}" for used in zip(*cpu, strict=True))
                    print(f"| {question.name} | {statistics.median(clock):.0f} | {p95:.0f} | {means} | {size / 1000:.0f} |", flush=True)
        print(f"\nload average {os.getloadavg()[0]:.1f}; bytes an item: {'; '.join((await sizes(clickhouse)).values())}")
        await clickhouse.close()


def main() -> None:
    """Run the benchmarks that the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=2_000_000)
    parser.add_argument("--logs", type=int, default=1_000_000)
    parser.add_argument("--full", action="store_true", help="10 million spans and 20 million log records")
    parser.add_argument("--hours", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="only questions whose name holds this text")
    chosen = parser.parse_args()
    spans, logs = (10_000_000, 20_000_000) if chosen.full else (chosen.spans, chosen.logs)
    uvloop.run(run(spans, logs, chosen.hours, chosen.rounds, chosen.only))


if __name__ == "__main__":
    main()
