"""The tael command as a process, against a running API."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from aiohttp import web

from tael import __version__
from tael.model.signals import LOGS, TRACES
from tael.runtime.config import Address
from tael.runtime.http import serve
from tests.support.doubles import MemorySpans
from tests.support.live import MemoryBus, publish_logs, publish_spans
from tests.support.otlp import eventually
from tests.support.ports import free_port
from tests.support.query import CLUSTER, serving, with_a_stalled_shard
from tests.support.storage import logs_of, model_of, new_trace_id, of_service, wire_log, wire_span

HEX = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, object]:
        """Standard output of a command that succeeded."""
        assert self.code == 0, self.err
        value: dict[str, object] = json.loads(self.out)
        return value


async def tael(*arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
    """Run the command to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from tael.cli import main; main(prog_name='tael')",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


def checkout(trace_id: bytes) -> MemorySpans:
    """A trace of four spans: a root, its two children, and a grandchild that failed."""
    root = wire_span(0, duration_ns=100_000_000, name="GET /cart", trace_id=trace_id, span_id=b"root----")
    spans = [root]
    for offset, duration, name, span_id, parent in [
        (10, 20, "load", b"load----", b"root----"),
        (40, 60, "pay", b"pay-----", b"root----"),
        (50, 1, "charge \x1b[31mred", b"charge--", b"pay-----"),
    ]:
        child = wire_span(offset * 1_000_000, duration_ns=duration * 1_000_000, name=name, trace_id=trace_id, span_id=span_id)
        child.parent_span_id = parent
        spans.append(child)
    spans[3].status.code = 2  # type: ignore[assignment]  # OTLP's number of an error
    return MemorySpans(model_of([of_service("shop", *spans)]))


async def test_json_is_the_answer_of_the_api() -> None:
    """Whole where that is asked for, and by default for what is short anyway."""
    trace_id = new_trace_id()
    async with serving(checkout(trace_id)) as api:
        for command, path in [
            (["query", "traces", "--full"], "/api/v1/traces"),
            (["get", "trace", trace_id.hex(), "--full"], f"/api/v1/traces/{trace_id.hex()}"),
            (["services"], "/api/v1/services"),
            (["server", "status"], "/internal/cluster"),
        ]:
            assert (await tael("--server", api.url, *command)).json() == await api.json(path)


async def test_json_for_agents_is_compact() -> None:
    """Empty fields are left out and fields can be chosen; errors are JSON where JSON was asked for; TAEL_SERVER names the server."""
    async with serving(checkout(new_trace_id())) as api:
        here = {"TAEL_SERVER": api.url}
        spans = (await tael("query", "traces", environment=here)).json()["spans"]
        assert isinstance(spans, list)
        assert all(value not in (None, "", [], {}) for span in spans for value in span.values())
        chosen = (await tael("query", "traces", "--fields", "operation,status", "--limit", "1", environment=here)).json()["spans"]
        assert chosen == [{"operation": "charge \x1b[31mred", "status": "error"}]
        refused = await tael("--format", "json", "query", "traces", "--min-duration-ms", "5", "--max-duration-ms", "1", environment=here)
        assert refused.code == 2
        assert "max_duration_ms" in json.loads(refused.err)["error"]
        misspelt = await tael("query", "traces", "--fields", "operation,nosuch", environment=here)
        assert (misspelt.code, misspelt.out) == (2, "")
        assert "unknown field nosuch; the fields are trace_id, " in misspelt.err
        assert (await tael("query", "traces", "--fields", "attributes.nosuch", "--limit", "1", environment=here)).json()["spans"] == [{}]
        assert (await tael("query", "traces", "--last", "2 hours", "--fields", "status", environment=here)).code == 0
        empty = await tael("--format", "table", "query", "traces", "--service", "nothing", environment=here)
        assert empty.out.startswith("no spans match; try ")
        assert (await tael("query", "traces", environment={"TAEL_SERVER": "ftp://x"})).code == 2
    alone = await tael()
    assert (alone.code, alone.out.startswith("Usage: tael")) == (0, True)


async def test_fields_of_llm_calls() -> None:
    """As those of spans: chosen, refused where there is none such, and compact without them."""
    call = wire_span(name="chat", attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "m-1"})
    async with serving(MemorySpans(model_of([of_service("shop", call)]))) as api:
        calls = ["--server", api.url, "llm", "calls"]
        assert (await tael(*calls, "--fields", "operation,llm.model")).json()["calls"] == [{"operation": "chat", "llm.model": "m-1"}]
        assert (await tael(*calls, "--full")).json() == await api.json("/api/v1/llm/calls")
        short = (await tael(*calls)).json()["calls"]
        assert isinstance(short, list)
        assert all(value not in (None, "", [], {}) for one in short for value in one.values())
        for fields, why in (("bogus", "unknown field bogus; the fields are trace_id, "), (",", "',' names no field")):
            ended = await tael(*calls, "--fields", fields)
            assert (ended.code, ended.out, why in ended.err) == (2, "", True), ended.err


async def test_options_may_stand_before_and_behind_the_command() -> None:
    """And a port is enough on this machine; proxies are for elsewhere."""
    async with serving(MemorySpans()) as api:
        port = api.url.rpartition(":")[2]
        proxied = {"http_proxy": f"http://127.0.0.1:{free_port()}", "no_proxy": ""}
        for arguments in (
            ["--port-rest", port, "services"],
            ["services", "--port-rest", port],
            ["services", "--server", f"127.0.0.1:{port}"],
        ):
            assert (await tael(*arguments, environment=proxied)).json() == {"services": [], "partial": False}


async def test_every_filter_is_passed_on() -> None:
    """As the API names it, escaped."""
    seen: list[tuple[str, str]] = []

    async def record(request: web.Request) -> web.Response:
        seen.extend(request.query.items())
        return web.json_response({"spans": [], "cursor": None, "partial": False})

    filters = {
        "service": "a&b",
        "operation": "GET /",
        "min-duration-ms": "1.5",
        "max-duration-ms": "9.0",
        "status": "error",
        "text": "blue sky",
        "model": "m-1",
        "min-cost-usd": "0.25",
        "last": "15m",
        "start": "2026-01-31T09:30:00+01:00",
        "end": "5",
        "limit": "7",
        "cursor": "c_-",
    }
    app = web.Application()
    app.router.add_get("/api/v1/traces", record)
    async with serve(app, Address("127.0.0.1", 0), what="the test's", variable="-", drain_seconds=1) as bound:
        options = [part for name, value in filters.items() for part in (f"--{name}", value)]
        ended = await tael("--server", f"http://{bound}", "query", "traces", *options, "--attribute", "a=1", "--attribute", "b==2")
    assert ended.code == 0, ended.err
    assert sorted(seen) == sorted(
        [*((name.replace("-", "_"), value) for name, value in filters.items()), ("attribute", "a=1"), ("attribute", "b==2")]
    )


async def test_live_spans_come_line_by_line() -> None:
    """As JSON objects, or as lines for people; through a filter, until enough were seen."""
    group = of_service("shop", wire_span(1, name="GET /cart", status=2, duration_ns=5_000_000), wire_span(2, name="other"))
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api:
        options = ["--server", api.url, "live", "traces", "--operation", "GET", "--attribute", "k=v", "--count", "2"]
        for more in ([], ["--format", "table"]):
            ending = asyncio.create_task(tael(*options, *more))
            await eventually(lambda: bool(bus.queues.get(TRACES)))
            for _ in range(2):
                await asyncio.sleep(0.05)
                publish_spans(
                    bus, of_service("shop", wire_span(1, name="GET /cart", status=2, duration_ns=5_000_000, attributes={"k": "v"})), group
                )
            ended = await ending
            assert (ended.code, ended.err) == (0, "waiting for matching traces; press Ctrl-C to stop\n")
            lines = ended.out.splitlines()
            assert len(lines) == 2
            if more:
                assert all("shop  GET /cart  error  5.00 ms" in line for line in lines)
            else:
                assert [json.loads(line)["operation"] for line in lines] == ["GET /cart"] * 2


async def test_live_logs_come_line_by_line() -> None:
    """The same for log records; of a body with several lines, people see the first."""
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api:
        options = ["--server", api.url, "live", "logs", "--min-severity", "warn", "--count", "1"]
        for more in ([], ["--format", "table"]):
            ending = asyncio.create_task(tael(*options, *more))
            await eventually(lambda: bool(bus.queues.get(LOGS)))
            await asyncio.sleep(0.05)
            publish_logs(bus, logs_of("shop", wire_log(1, "fine", severity_number=9), wire_log(2, "broken\nat line 3", severity_number=17)))
            ended = await ending
            assert (ended.code, ended.err, len(ended.out.splitlines())) == (0, "waiting for matching logs; press Ctrl-C to stop\n", 1)
            assert ("shop  error  broken\n" in ended.out) if more else (json.loads(ended.out)["body"] == "broken\nat line 3")


async def test_a_live_stream_that_broke_is_watched_again() -> None:
    """With a word on standard error; a server that was never there, or refuses, ends the command."""
    bus = MemoryBus()
    async with serving(MemorySpans(), bus=bus) as api:
        ending = asyncio.create_task(tael("--server", api.url, "live", "traces", "--count", "1"))
        await eventually(lambda: bool(bus.queues.get(TRACES)))
        bus.lose_connection(TRACES)
        await eventually(lambda: bus.queues[TRACES] == [])
        await eventually(lambda: bool(bus.queues[TRACES]))
        publish_spans(bus, of_service("shop", wire_span(1)))
        ended = await ending
        assert (ended.code, len(ended.out.splitlines())) == (0, 1)
        assert "reconnecting" in ended.err
        refused = await tael("--server", api.url, "live", "traces", "--trace-id", "x")
        assert (refused.code, "32 hexadecimal digits" in refused.err) == (2, True)
    assert (await tael("--server", api.url, "live", "traces")).code == 3


async def test_a_trace_as_a_waterfall() -> None:
    """A tree whose durations and bars line up; control characters of strangers do not reach the terminal."""
    trace_id = new_trace_id()
    async with serving(checkout(trace_id)) as api:
        ended = await tael("--server", api.url, "--format", "table", "get", "trace", trace_id.hex())
    bar = "━"
    assert [line.rstrip() for line in ended.out.splitlines()] == [
        f"trace {trace_id.hex()}  4 spans  shop",
        "OPERATION              SERVICE  STATUS   DURATION  TIME LINE",
        "GET /cart              shop     unset   100.00 ms  " + bar * 40,
        "├─ load                shop     unset    20.00 ms  " + " " * 4 + bar * 8,
        "└─ pay                 shop     unset    60.00 ms  " + " " * 16 + bar * 24,
        "   └─ charge \N{REPLACEMENT CHARACTER}[31mred  shop     error     1.00 ms  " + " " * 20 + bar,
    ]


async def test_spans_and_services_as_tables() -> None:
    """One line each, whole when piped."""
    trace_id = new_trace_id()
    async with serving(checkout(trace_id)) as api:
        spans = (await tael("--server", api.url, "query", "traces", "--format", "table", "--limit", "2")).out
        services = (await tael("--server", api.url, "services", "--format", "table")).out
    header, charge, pay, more = spans.splitlines()
    assert header.split() == ["START", "SERVICE", "OPERATION", "KIND", "STATUS", "DURATION", "TRACE"]
    assert HEX.findall(charge) == HEX.findall(pay) == [trace_id.hex()]
    assert "1.00 ms" in charge
    assert more.startswith("there is more: --cursor ")
    assert services.splitlines()[1].split() == ["shop", "4", "1", "45.25", "ms", "25.00%"]


async def test_the_cluster_as_tables() -> None:
    """Columns line up, also for a shard that nobody writes and a long name."""
    async with serving(MemorySpans()) as api:
        out = (await tael("--server", api.url, "server", "status", "--format", "table")).out
    title, _, *tables = out.splitlines()
    assert title == "cluster tael: coordinator-0 leads, epoch 3; shard map 2; answered by query"
    shards, members = tables[:3], tables[4:]
    assert [line.index("http") for line in shards[1:]] == [shards[0].index("URL")] * 2
    assert shards[1].split() == ["shard-0", "http://127.0.0.1:8123", "ingest-0", "7", "1234567", "12", "4.8", "MiB", "compactor-0"]
    assert shards[2].split()[2:] == ["-", "-", "-", "-", "-", "-"]
    assert [line.index("ingest ") for line in members[1:] if "longer" in line] == [members[0].index("TARGET")]
    assert [("alive" in line, "gone" in line) for line in members[1:]] == [(True, False), (False, True)]
    assert len(CLUSTER["members"]) == len(members) - 1


async def test_a_partial_answer_is_reported_on_standard_error() -> None:
    """The output stays JSON, the warning goes to standard error."""
    async with with_a_stalled_shard(model_of([of_service("shop", wire_span())])) as api:
        ended = await tael("--server", api.url, "query", "traces")
    assert ended.json()["partial"] is True
    assert ended.err == "warning: the answer is partial, shard-1 did not answer\n"


async def test_no_server_is_exit_code_3() -> None:
    """With the URL and what to do; also for something that is not tael."""
    port = free_port()
    ended = await tael("--port-rest", str(port), "services")
    assert (ended.code, ended.out) == (3, "")
    assert f"no tael server at http://127.0.0.1:{port}: Connection refused" in ended.err
    assert "`tael serve`" in ended.err

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    app = web.Application()
    app.router.add_get("/api/v1/services", page)
    async with serve(app, Address("127.0.0.1", 0), what="the test's", variable="-", drain_seconds=1) as bound:
        ended = await tael("--server", f"http://{bound}", "services")
    assert (ended.code, ended.err) == (3, f"Error: http://{bound} answers, but it is not a tael server\n")


async def test_errors_of_the_server_are_printed() -> None:
    """Its own words: 2 for a wrong question, 1 for what is not there."""
    async with serving(MemorySpans()) as api:
        wrong = await tael("--server", api.url, "query", "traces", "--last", "0m")
        assert (wrong.code, wrong.err.startswith("Error: last: '0m' is zero or beyond 292 years (accepted: ")) == (2, True)
        unknown = "ab" * 16
        missing = await tael("--server", api.url, "get", "trace", unknown)
        assert (missing.code, missing.err) == (1, f"Error: trace {unknown} was not found\n")
        odd = await tael("--server", api.url, "get", "trace", "../services")
        assert (odd.code, "trace_id" in odd.err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["query", "traces", "--status", "bad"],
        ["query", "traces", "--last", ""],
        ["query", "traces", "--last", "3M"],
        ["query", "traces", "--start", "now-3M"],
        ["query", "traces", "--start", "99999999 weeks ago"],
        ["delete", "user", "", "--yes"],
        ["--server", "ftp://x", "services"],
        ["--server", "http://x", "--port-rest", "1", "services"],
    ],
)
async def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    ended = await tael(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: tael")


@pytest.mark.parametrize(
    "arguments",
    [
        ["delete", "user", "\udcff", "--yes"],
        ["get", "trace", "\udcff"],
        ["--tenant", "日", "services"],
        ["--token", "a\nb", "services"],
    ],
)
async def test_what_a_request_cannot_have_is_wrong_usage(arguments: list[str]) -> None:
    """Bytes that are not UTF-8 come as halves of surrogate pairs."""
    ended = await tael(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Error: ")


async def test_version_and_help() -> None:
    """Neither asks a server."""
    assert (await tael("--version")).out == f"tael {__version__}\n"
    for arguments in ([], ["query"], ["get"], ["server"]):
        assert "Usage: tael" in (await tael(*arguments, "--help")).out


async def test_serve_becomes_the_suite() -> None:
    """The same process as ``python -m services serve``, which refuses a setting that there is not."""
    ended = await tael("serve", environment={"TAEL_SHARDZ": "2"})
    assert ended.code == 2
    assert "TAEL_SHARDZ is not a setting: did you mean TAEL_SHARDS?" in ended.err
