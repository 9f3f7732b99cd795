"""The native API of traces as clients see it, over spans in memory and over two shards on hot nodes."""

from __future__ import annotations

import asyncio
import gzip
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from services.query.api.native.span_json import span_json
from tael.model.attributes import Attributes
from tael.model.tenant import DEFAULT_TENANT
from tael.otlp.anyvalue import encode_attributes
from tests.support.databases import MakeNode
from tests.support.doubles import MemorySpans
from tests.support.hotnode import HotNode
from tests.support.query import CLUSTER, Api, Stalled, serving, with_a_stalled_shard
from tests.support.storage import START_NS, logs_of, model_of, new_trace_id, of_service, open_tier, wire_log, wire_span

TRACES = "/api/v1/traces"


def shop(count: int = 3) -> ResourceSpans:
    """Spans of one service, each in its own trace, a millisecond apart."""
    return of_service("shop", *(wire_span(i * 1_000_000) for i in range(count)))


async def test_spans_are_listed_newest_first(api: Api) -> None:
    """With every field of the documented shape."""
    written = await api.store(shop())
    answer = await api.json(TRACES)
    assert answer == {"spans": [span_json(span) for span in reversed(written)], "cursor": None, "partial": False}


async def test_nothing_found_is_an_empty_list(api: Api) -> None:
    await api.store(shop())
    assert await api.json(TRACES, service="nobody") == {"spans": [], "cursor": None, "partial": False}


async def test_each_filter_reaches_the_reader(api: Api) -> None:
    """By the names that the API gives them; empty values do not filter."""
    call: Attributes = {"gen_ai.request.model": "m-1", "gen_ai.usage.cost": 0.25, "gen_ai.completion.0.content": "because of scattering"}
    await api.store(
        of_service("shop", wire_span(1, name="GET /cart", status=2, duration_ns=5_000_000, attributes={"n": 5, "user": "ann=e"})),
        of_service("shop", wire_span(2, name="POST /pay", status=1, attributes={"n": 5.0})),
        of_service("agent", wire_span(3, name="chat", attributes=call), zone="eu"),
    )
    cart, pay, chat = "GET /cart", "POST /pay", "chat"
    instant = datetime.fromtimestamp(START_NS // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    cases: list[tuple[list[tuple[str, str]], list[str]]] = [
        ([], [chat, pay, cart]),
        ([("service", ""), ("status", ""), ("limit", ""), ("start", "")], [chat, pay, cart]),
        ([("service", "shop")], [pay, cart]),
        ([("operation", "/")], [pay, cart]),
        ([("min_duration_ms", "4.5")], [cart]),
        ([("max_duration_ms", "0.5")], [chat, pay]),
        ([("status", "error")], [cart]),
        ([("status", "OK")], [pay]),
        ([("status", "unset")], [chat]),
        ([("attribute", "n=5")], [pay, cart]),
        ([("attribute", "n=5"), ("attribute", "user=ann=e")], [cart]),
        ([("attribute", "zone=eu")], [chat]),
        ([("text", "scattering")], [chat]),
        ([("model", "m-1")], [chat]),
        ([("min_cost_usd", "0.25")], [chat]),
        ([("min_cost_usd", "0.26")], []),
        ([("last", "100000d")], [chat, pay, cart]),
        ([("start", str(START_NS + 2))], [chat, pay]),
        ([("end", str(START_NS + 2))], [cart]),
        ([("start", f"{instant}.000000002Z"), ("end", f"{instant}.000000003Z")], [pay]),
        ([("limit", "1")], [chat]),
    ]
    for parameters, names in cases:
        answer = await api.json(TRACES, *parameters)
        assert [span["operation"] for span in answer["spans"]] == names, parameters


async def test_pages_hold_every_span_once(api: Api) -> None:
    """Also where many spans start at one instant, and the last page has no cursor."""
    written = await api.store(of_service("shop", *(wire_span(i // 4) for i in range(21))))
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await api.json(TRACES, service="shop", limit=7, cursor=cursor)
        assert len(answer["spans"]) == 7
        seen += [span["span_id"] for span in answer["spans"]]
        cursor = answer["cursor"]
    assert sorted(seen) == sorted(span.span_id.hex() for span in written)


async def test_a_span_that_arrives_between_two_pages_does_not_shift_them(api: Api) -> None:
    """Newer spans are not in the pages that follow, older ones are not repeated; the range stays that of the first page."""
    await api.store(shop(4))
    first = await api.json(TRACES, last="100000d", limit=2)
    await api.store(of_service("late", wire_span(10**10)))
    second = await api.json(TRACES, last="100000d", limit=2, cursor=first["cursor"])
    assert len({span["span_id"] for span in first["spans"] + second["spans"]}) == 4
    assert {span["service"] for span in second["spans"]} == {"shop"}
    assert second["cursor"] is None


async def test_a_span_that_starts_beyond_the_signed_range_can_end_a_page(api: Api) -> None:
    """Start times are 64 unsigned bits on the wire."""
    group = shop(2)
    group.scope_spans[0].spans[0].start_time_unix_nano = (1 << 64) - 1
    await api.store(group)
    first = await api.json(TRACES, limit=1)
    assert first["spans"][0]["start_time"].startswith("2026")
    last = await api.json(TRACES, limit=1, cursor=first["cursor"])
    assert last["spans"][0]["start_time"] == "2554-07-21T23:34:33.709551615Z"


async def test_a_trace_is_whole_and_in_order(api: Api) -> None:
    """Ids in any case; a short id is padded with zeros."""
    trace_id = b"\0" * 8 + new_trace_id()[8:]
    written = await api.store(of_service("shop", *(wire_span(i, trace_id=trace_id) for i in (3, 1, 2))), shop())
    mine = sorted((span for span in written if span.trace_id == trace_id), key=lambda span: span.start_ns)
    expected = {"trace_id": trace_id.hex(), "span_count": 3, "partial": False, "spans": [span_json(span) for span in mine]}
    for text in (trace_id.hex(), trace_id.hex().upper(), trace_id[8:].hex()):
        assert await api.json(f"{TRACES}/{text}") == expected


async def test_an_unknown_trace_is_not_found(api: Api) -> None:
    unknown = new_trace_id().hex()
    assert await api.error(f"{TRACES}/{unknown}") == (404, f"trace {unknown} was not found")


async def test_services_are_counted(api: Api) -> None:
    """Sums, and the rates that follow from them; an empty range has no services."""
    trace_id = new_trace_id()
    spans = [wire_span(i, trace_id=trace_id, duration_ns=2_000_000, status=2 if i == 0 else 0) for i in range(4)]
    await api.store(of_service("shop", *spans), of_service("agent", wire_span()))
    agent, counted = (await api.json("/api/v1/services", last="100000d"))["services"]
    assert agent["name"] == "agent"
    assert counted == {
        "name": "shop",
        "span_count": 4,
        "trace_count": 1,
        "error_count": 1,
        "error_rate": 0.25,
        "avg_duration_ms": 2.0,
    }
    assert await api.json("/api/v1/services", end="1970-01-02T00:00:00Z") == {"services": [], "partial": False}


async def test_values_are_valid_json_and_lose_nothing(api: Api) -> None:
    """Integers beyond 2^53, bytes, infinities and nested values, in attributes, events and links."""
    values: Attributes = {
        "big": (1 << 63) - 1,
        "whole": 5.0,
        "nan": math.nan,
        "inf": -math.inf,
        "bytes": b"\x00\xff",
        "none": None,
        "list": [1, b"x"],
    }
    shown = {
        "big": 9223372036854775807,
        "whole": 5.0,
        "nan": {"$double": "NaN"},
        "inf": {"$double": "-Infinity"},
        "bytes": {"$bytes": "AP8="},
        "none": None,
        "list": [1, {"$bytes": "eA=="}],
    }
    span = wire_span(attributes=values)
    span.events.add(name="e").attributes.extend(encode_attributes(values))
    span.links.add(trace_id=b"odd").attributes.extend(encode_attributes(values))
    await api.store(of_service("shop", span))
    response = await api.get(TRACES)
    (read,) = response.json()["spans"]
    assert read["attributes"] == read["events"][0]["attributes"] == read["links"][0]["attributes"] == shown
    assert read["links"][0]["trace_id"] == "6f6464"
    assert b'"whole":5.0' in response.body


BAD_REQUESTS = [
    ({"limit": "0"}, "limit: 0 is out of bounds (accepted: a whole number from 1 to 10000, see TAEL_MAX_QUERY_LIMIT)"),
    ({"limit": "99999999999999999999999"}, "limit: '99999999999999999999999' is not a whole number"),
    ({"limit": "10001"}, "limit: 10001 is out of bounds"),
    ({"limit": "many"}, "limit: 'many' is not a whole number"),
    ({"min_duration_ms": "-1"}, "min_duration_ms: '-1' is not a valid number (accepted: a number of at least 0)"),
    ({"max_duration_ms": "nan"}, "max_duration_ms: 'nan' is not a valid number"),
    ({"max_duration_ms": "1e300"}, "max_duration_ms: '1e300' is too long"),
    ({"min_duration_ms": "5", "max_duration_ms": "4"}, "max_duration_ms: below min_duration_ms"),
    ({"min_cost_usd": "cheap"}, "min_cost_usd: 'cheap' is not a valid number"),
    ({"status": "bad"}, "status: 'bad' is not a known value (accepted: unset, ok, error)"),
    ({"attribute": "novalue"}, "attribute: 'novalue' has no key or no '=' (accepted: key=value, for example http.method=GET)"),
    ({"last": "15"}, "last: '15' has no unit (accepted: a duration such as 90s, 15m, 1h30m or 2d)"),
    ({"last": "0s"}, "last: '0s' is zero or beyond 292 years"),
    ({"last": "1h", "start": "1"}, "last: given together with start or end (accepted: either last, or start and end)"),
    ({"start": "yesterday"}, "start: 'yesterday' is not an instant (accepted: RFC 3339 such as 2026-01-31T09:30:00Z, or seconds"),
    ({"start": "2026-13-01T00:00:00Z"}, "start: '2026-13-01T00:00:00Z' is not an instant"),
    ({"start": "20", "end": "10"}, "end: 10 is not after start"),
    ({"cursor": "x"}, "cursor: not a cursor (accepted: the cursor of the previous answer, unchanged)"),
    ({"servce": "shop"}, "servce: unknown parameter; did you mean service?"),
]


@pytest.mark.parametrize(("parameters", "text"), BAD_REQUESTS)
async def test_a_bad_parameter_is_named(parameters: dict[str, str], text: str) -> None:
    """With what was wrong and what it takes."""
    async with serving(MemorySpans()) as api:
        status, error = await api.error(TRACES, *parameters.items())
    assert (status, error[: len(text)]) == (400, text)


async def test_other_bad_requests_are_answered_clearly() -> None:
    """Ids, repeated parameters, cursors of another query, paths and methods."""
    async with serving(MemorySpans(model_of([shop()]))) as api:
        cursor = (await api.json(TRACES, service="shop", limit=1))["cursor"]
        assert await api.error(TRACES, ("limit", "1"), ("limit", "2")) == (400, "limit: given more than once (accepted: one value)")
        assert await api.error(TRACES, service="other", cursor=cursor) == (
            400,
            "cursor: the cursor belongs to a query with different filters (accepted: the same filters on every page)",
        )
        for bad in ("abc", "g" * 32, "0" * 33, "0" * 32):
            status, text = await api.error(f"{TRACES}/{bad}")
            assert (status, text.partition(":")[0]) == (400, "trace_id")
        assert (await api.error("/api/v1/services", limit="1"))[0] == 400
        assert await api.error("/api/v1/nothing") == (404, "path not found: /api/v1/nothing")
        async with api.session.post(api.url + TRACES) as response:
            assert response.status == 405
            assert response.headers["Allow"] == "GET,HEAD"


async def test_a_dead_shard_makes_answers_partial(migrated_nodes: MakeNode, shared_hot_node: object) -> None:
    """By its name; what the other shards hold is there, and what is not there cannot be called unknown."""
    node = migrated_nodes()
    async with open_tier([shared_hot_node, node]) as tier, serving(tier.reader, tier) as api:  # type: ignore[list-item]  # a HotNode
        written = await api.store(shop(20))
        node.kill()
        answer = await api.json(TRACES)
        assert (answer["partial"], answer["missing_shards"]) == (True, ["shard-1"])
        here = {span["trace_id"] for span in answer["spans"]}
        assert 0 < len(here) < 20
        trace = await api.json(f"{TRACES}/{min(here)}")
        assert (trace["span_count"], trace["partial"], trace["missing_shards"]) == (1, True, ["shard-1"])
        gone = next(span.trace_id.hex() for span in written if span.trace_id.hex() not in here)
        response = await api.get(f"{TRACES}/{gone}")
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert response.json() == {
            "error": f"trace {gone} was not found, but it may be on shard-1, which did not answer",
            "partial": True,
            "missing_shards": ["shard-1"],
        }
        services = await api.json("/api/v1/services")
        assert (services["services"][0]["span_count"], services["missing_shards"]) == (len(here), ["shard-1"])


async def test_when_no_shard_answers_the_api_is_unavailable(migrated_nodes: MakeNode) -> None:
    node = migrated_nodes()
    async with open_tier([node]) as tier, serving(tier.reader, tier) as api:
        node.kill()
        response = await api.get(TRACES)
        assert response.status == 503
        assert "Retry-After" in response.headers


async def test_a_slow_shard_costs_its_own_rows_and_not_the_answer() -> None:
    """Shards get less time than the whole query."""
    async with with_a_stalled_shard(model_of([shop()])) as api:
        answer = await api.json(TRACES)
        assert (len(answer["spans"]), answer["partial"], answer["missing_shards"]) == (3, True, ["shard-1"])


async def test_a_query_past_its_deadline_ends(caplog: pytest.LogCaptureFixture) -> None:
    """With 504 and a text, and its turn is free again."""
    async with serving(Stalled(), TAEL_QUERY_TIMEOUT_SECS="0.1", TAEL_QUERY_CONCURRENCY="1") as api:
        for _ in range(2):
            assert await api.error(TRACES) == (504, "the deadline passed before every shard had answered")
    assert caplog.text == ""


async def test_more_queries_than_turns_wait_and_then_are_refused() -> None:
    """429 with Retry-After when the queue is full, and when the wait was in vain."""
    stalled = Stalled()
    settings: dict[str, Any] = {"TAEL_QUERY_TIMEOUT_SECS": "0.4", "TAEL_QUERY_CONCURRENCY": "1", "TAEL_QUERY_QUEUE": "1"}
    async with serving(stalled, **settings) as api:
        running = asyncio.create_task(api.get(TRACES))
        await stalled.asked.wait()
        others = await asyncio.gather(api.get(TRACES), api.get(TRACES))
        assert (await running).status == 504
        texts = [response.json()["error"] for response in others if response.status == 429]
        assert "query limit reached: 1 running, 1 waiting (TAEL_QUERY_CONCURRENCY, TAEL_QUERY_QUEUE)" in texts
        assert {response.headers.get("Retry-After") for response in others if response.status == 429} == {"1"}


async def test_a_client_that_leaves_frees_its_turn() -> None:
    """Its query is cancelled."""
    stalled = Stalled()
    async with serving(stalled, TAEL_QUERY_CONCURRENCY="1") as api:
        leaving = asyncio.create_task(api.get(TRACES))
        await stalled.asked.wait()
        leaving.cancel()
        stalled.asked.clear()
        following = asyncio.create_task(api.get(TRACES))
        await asyncio.wait_for(stalled.asked.wait(), 20)
        following.cancel()


async def test_a_trace_over_the_limit_is_cut_and_says_so() -> None:
    """``span_count`` is the whole."""
    trace_id = new_trace_id()
    spans = model_of([of_service("shop", *(wire_span(i, trace_id=trace_id) for i in range(5)))])
    async with serving(MemorySpans(spans), TAEL_MAX_TRACE_SPANS="2") as api:
        answer = await api.json(f"{TRACES}/{trace_id.hex()}")
    assert (answer["span_count"], len(answer["spans"])) == (5, 2)
    assert answer["truncated"] == "only the first 2 spans are here (TAEL_MAX_TRACE_SPANS)"


async def test_large_answers_are_compressed_on_request() -> None:
    """With gzip, and only a kilobyte or more."""
    async with serving(MemorySpans(model_of([shop(300)]))) as api:
        plain = await api.get(TRACES, limit=1000)
        packed = await api.get(TRACES, limit=1000, headers={"Accept-Encoding": "br, gzip;q=0.8"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        refused = await api.get(TRACES, limit=1000, headers={"Accept-Encoding": "gzip;q=0"})
        small = await api.get("/healthz", headers={"Accept-Encoding": "gzip"})
        assert not {"Content-Encoding"} & {*refused.headers, *small.headers}


async def test_the_process_routes_are_on_the_same_port() -> None:
    async with serving(MemorySpans()) as api:
        api.readiness.set("shard map", "starting")
        assert (await api.get("/healthz")).status == 200
        response = await api.get("/readyz")
        assert (response.status, response.json()["reasons"]) == (503, {"shard map": "starting"})
        api.readiness.set("shard map")
        assert (await api.get("/readyz")).status == 200
        await api.json(TRACES)
        assert b'tael_query_seconds_count{route="traces"}' in (await api.get("/metrics")).body
        assert await api.json("/internal/cluster") == CLUSTER


async def test_messages_in_log_records_are_shown_with_their_call(shared_hot_node: HotNode) -> None:
    """Events of calls by either of their names, in order; the sums of the trace, and which spans are in them."""
    trace_id, call, agent = new_trace_id(), b"c" * 8, b"a" * 8
    usage: Attributes = {"gen_ai.usage.input_tokens": 1_000_000, "gen_ai.usage.output_tokens": 1, "gen_ai.request.model": "gpt-4o"}
    outer = wire_span(0, name="agent", trace_id=trace_id, span_id=agent, attributes={**usage, "gen_ai.operation.name": "invoke_agent"})
    inner = wire_span(1, name="chat", trace_id=trace_id, span_id=call, attributes={**usage, "gen_ai.operation.name": "chat"})
    inner.parent_span_id = agent
    said = [
        wire_log(30, {"message": {"content": "blue"}}, trace_id=trace_id, span_id=call, event_name="gen_ai.choice"),
        wire_log(20, {"content": "why?"}, trace_id=trace_id, span_id=call, attributes={"event.name": "gen_ai.user.message"}),
        wire_log(25, "something else", trace_id=trace_id, span_id=call),
        wire_log(10, {"content": "of another trace"}, trace_id=new_trace_id(), span_id=call, event_name="gen_ai.user.message"),
    ]
    async with open_tier([shared_hot_node]) as tier, serving(tier.reader, tier, logs=tier.logs) as api:
        await tier.store(of_service("agent", outer, inner), tenant=DEFAULT_TENANT)
        await tier.store_logs(logs_of("agent", *said), tenant=DEFAULT_TENANT)
        answer = await api.json(f"{TRACES}/{trace_id.hex()}")
        plain = new_trace_id()
        await tier.store(of_service("shop", wire_span(0, trace_id=plain)), tenant=DEFAULT_TENANT)
        assert "llm" not in await api.json(f"{TRACES}/{plain.hex()}")
    assert answer["llm"] == {"calls": 1, "input_tokens": 1_000_000, "output_tokens": 1, "cost_usd": pytest.approx(2.50001)}
    assert [span["llm"]["counted"] for span in answer["spans"]] == [False, True]
    assert [len(span["llm"]["messages"]) for span in answer["spans"]] == [0, 2]
    assert [(told["event"], told["role"], told["body"]) for told in answer["spans"][1]["llm"]["messages"]] == [
        ("gen_ai.user.message", "user", {"content": "why?"}),
        ("gen_ai.choice", "assistant", {"message": {"content": "blue"}}),
    ]
