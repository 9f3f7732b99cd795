"""TraceQL over Tempo's API, on spans in memory and on two shards of real hot nodes."""

from __future__ import annotations

from typing import Any

import pytest

from tael.errors import Unavailable
from tael.model.predicate import Predicate
from tael.model.time import TimeRange
from tael.otlp.encode import encode_spans
from tael.storage.api import Answer, Shard
from tael.storage.clickhouse.traceql import reader
from tael.storage.gather import Shards
from tael.storage.spansets import MergedSpansets, SpansetReader
from tael.traceql.ast import Named, Static
from tests.support.doubles import MemorySpans
from tests.support.query import Api, serving
from tests.support.storage import START_NS, of_service, wire_span
from tests.support.traceql import MemorySpansets
from tests.support.traceql_cases import SPANS, START

SEARCH = "/tempo/api/search"
RANGE = {"start": START // 10**9 - 60, "end": START // 10**9 + 60}


async def test_a_search_by_tags(api: Api) -> None:
    """Each tag holds for some span of the trace; nothing is said of single spans."""
    await api.store(*encode_spans(SPANS))
    body = await api.json(SEARCH, tags="service.name=sho name=query", **RANGE)
    assert [(trace["traceID"], trace["rootServiceName"], trace["rootTraceName"]) for trace in body["traces"]] == [
        ("aa", "shop", "GET /cart")
    ]
    assert "spanSets" not in body["traces"][0]
    for tags in (
        "service.name=shop size=3",
        "service.name=shop level=res",
    ):  # numbers are no text, and parts of it are looked for in columns alone
        assert (await api.json(SEARCH, tags=tags, **RANGE))["traces"] == []
    assert len((await api.json(SEARCH, tags="level=resource service.name", **RANGE))["traces"]) == 1
    assert len((await api.json(SEARCH, minDuration="150ms", **RANGE))["traces"]) == 1
    assert [trace["traceID"] for trace in (await api.json(SEARCH, limit=2, **RANGE))["traces"]] == ["aa", "bb"]
    assert len((await api.json(SEARCH, limit=2, maxDuration="0s", **RANGE))["traces"]) == 2


async def test_fields_of_a_trace_in_an_answer(api: Api) -> None:
    """Root, bounds, services with their errors, the fields that the query names, and the first spans of a set."""
    await api.store(*encode_spans(SPANS))
    (trace,) = (await api.json(SEARCH, q="{ status = error && span.size = 3 }", **RANGE))["traces"]
    assert trace | {"spanSet": None, "spanSets": None} == {
        "traceID": "aa",
        "rootServiceName": "shop",
        "rootTraceName": "GET /cart",
        "startTimeUnixNano": str(START),
        "durationMs": 100,
        "spanSet": None,
        "spanSets": None,
        "serviceStats": {"shop": {"spanCount": 3}, "db": {"spanCount": 2, "errorCount": 2}},
    }
    assert trace["spanSets"] == [trace["spanSet"]]
    (span,) = trace["spanSet"]["spans"]
    assert sorted((item["key"], item["value"]) for item in span["attributes"]) == [
        ("size", {"intValue": "3"}),
        ("status", {"stringValue": "error"}),
    ]
    (trace,) = (await api.json(SEARCH, q='{ rootName = "GET /cart" }', spss=2, **RANGE))["traces"]
    assert (trace["spanSet"]["matched"], len(trace["spanSet"]["spans"])) == (5, 2)
    (trace,) = (await api.json(SEARCH, q="{ span.tags != nil } | by(span.tags)", **RANGE))["traces"]
    listed = {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}}
    assert trace["spanSet"]["attributes"] == [{"key": "by(span.tags)", "value": listed}]
    (orphaned,) = (await api.json(SEARCH, q='{ name = "orphan" }', **RANGE))["traces"]
    assert (orphaned["rootServiceName"], "rootTraceName" in orphaned) == ("<root span not yet received>", False)


async def metrics(api: Api, query: str, **parameters: Any) -> dict[tuple[str, ...], list[tuple[int, float]]]:
    """Samples that are not zero by the values of the labels, times in seconds from the start."""
    body = await api.json(
        "/tempo/api/metrics/query_range", q=query, step="10s", start=START // 10**9 - 20, end=START // 10**9 + 20, **parameters
    )
    return {
        tuple(str(next(iter(label["value"].values()))) for label in series["labels"]): [
            (int(sample["timestampMs"]) // 1000 - START // 10**9, sample["value"]) for sample in series["samples"] if "value" in sample
        ]
        for series in body["series"]
    }


async def test_metrics(api: Api) -> None:
    """Pushed down or evaluated on rows or on whole traces, the numbers are those of the spans."""
    await api.store(*encode_spans(SPANS))
    assert await metrics(api, "{ } | count_over_time()") == {("count_over_time",): [(0, 3), (10, 7)]}
    assert await metrics(api, "{ } | count_over_time() by (kind)") == {
        ("client",): [(0, 1), (10, 2)],
        ("internal",): [(10, 4)],
        ("server",): [(0, 2)],
        ("unspecified",): [(10, 1)],
    }
    assert await metrics(api, "{ status = error } | rate() by (resource.service.name)") == {("db",): [(10, 0.2)], ("",): [(0, 0.1)]}
    assert await metrics(api, "{ span.size != nil } | sum_over_time(span.size)") == {("sum_over_time",): [(10, 10.5)]}
    assert await metrics(api, '{ span.tags = "a" } | count_over_time() by (name)') == {("GET /cart",): [(0, 1)]}
    assert await metrics(api, '{ name = "GET /cart" } >> { } | max_over_time(duration)') == {("max_over_time",): [(10, 0.05)]}
    assert await metrics(api, "{ nestedSetParent < 0 } | count_over_time() by (name) | topk(1)") == {("GET /cart",): [(0, 1)]}
    assert await metrics(api, "{ } | histogram_over_time(duration)") == {
        ("0.016777216",): [(10, 2)],
        ("0.033554432",): [(0, 1), (10, 3)],
        ("0.067108864",): [(10, 2)],
        ("0.134217728",): [(0, 1)],
        ("0.268435456",): [(0, 1)],
    }
    assert await metrics(api, "{ span.cached != nil } | count_over_time() by (span.cached, span.size)") == {
        ("True",): [(10, 1)],
        ("False",): [(10, 1)],
    }
    assert await metrics(api, '{ event:name = "exception" } | count_over_time() by (event.exception.type)') == {("Deadlock",): [(10, 1)]}


async def test_metrics_of_what_no_span_can_be_have_no_series(api: Api) -> None:
    """As Tempo answers, where a filter that finds nothing has a series of zeros."""
    await api.store(*encode_spans(SPANS))
    for query in ("{ false }", "{ 1 = 2 } && { false }", '{ "a" = "b" } | { true = false }'):
        assert await metrics(api, f"{query} | rate()") == {}
    assert await metrics(api, '{ false || name = "nothing" } | rate()') == {("rate",): []}


async def test_an_attribute_that_is_to_be_nil_is_shown_as_nil(api: Api) -> None:
    """As Tempo's answers have it, on every span that lacks it."""
    await api.store(*encode_spans(SPANS))
    (trace,) = (await api.json(SEARCH, q='{ span.size = nil && name = "auth" }', **RANGE))["traces"]
    assert trace["spanSet"]["spans"][0]["attributes"] == [{"key": "size", "value": {"stringValue": "nil"}}]
    (trace,) = (await api.json(SEARCH, q='{ span.size = nil || name = "query db" } | { name = "query db" }', **RANGE))["traces"]
    assert "attributes" not in trace["spanSet"]["spans"][0]


async def test_a_name_without_a_scope_shows_the_span_s_value_and_the_resource_s(api: Api) -> None:
    """Both, where both are what the query asks for."""
    await api.store(*encode_spans(SPANS))

    async def shown(query: str) -> list[str]:
        (trace,) = (await api.json(SEARCH, q=query, **RANGE))["traces"]
        (span,) = trace["spanSet"]["spans"]
        return sorted(item["value"]["stringValue"] for item in span.get("attributes", []))

    assert await shown('{ name = "auth" } | select(.level)') == ["resource", "span"]
    assert await shown('{ .level != nil && name = "auth" }') == ["resource", "span"]
    assert await shown('{ .level = "span" }') == ["span"]
    assert await shown('{ .level = "resource" && name = "render" }') == ["resource"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"q": "{ }", "tags": "a=b"},
        {"tags": "a=b a=c"},
        {"minDuration": "2s", "maxDuration": "1s"},
        {"q": "{ }", "spss": 101},
        {"q": "{ }", "limit": 0},
        {"q": "{ }", "limit": 262_145},
        {"q": " "},
        {"q": "{ }", "minDuration": "x"},
        {"tags": "a=b=c"},
        {"tags": 'a="b"c'},
    ],
)
async def test_a_search_that_tempo_refuses_is_refused(api: Api, parameters: dict[str, str]) -> None:
    """With the same status."""
    assert (await api.get(SEARCH, headers=None, **parameters, **RANGE)).status == 400


async def test_the_root_of_a_trace_with_two_is_the_last(api: Api) -> None:
    """In the values of tags as in a search's answer."""
    await api.store(of_service("shop", *(wire_span(at, name=name, trace_id=b"t" * 16) for at, name in enumerate(("first", "second")))))
    within = {"start": START_NS // 10**9 - 60, "end": START_NS // 10**9 + 60}
    body = await api.json("/tempo/api/v2/search/tag/rootName/values", **within)
    assert body["tagValues"] == [{"type": "string", "value": "second"}]
    (trace,) = (await api.json(SEARCH, q='{ name = "first" }', **within))["traces"]
    assert trace["rootTraceName"] == "second"


async def test_the_root_of_a_trace_that_was_sent_twice_is_its_most_complete_copy(api: Api) -> None:
    """In the values of tags as in a search's answer; the values of other tags are those of both."""
    copies = [wire_span(0, name=name, trace_id=b"t" * 16, span_id=b"s" * 8) for name in ("at the start", "GET /cart")]
    copies[0].end_time_unix_nano = 0
    for copy in copies:
        await api.store(of_service("shop", copy))
    within = {"start": START_NS // 10**9 - 60, "end": START_NS // 10**9 + 60}

    async def values(tag: str) -> list[str]:
        body = await api.json(f"/tempo/api/v2/search/tag/{tag}/values", **within)
        return sorted(value["value"] for value in body["tagValues"])

    (trace,) = (await api.json(SEARCH, q="{ }", **within))["traces"]
    assert trace["rootTraceName"] == "GET /cart"
    assert await values("rootName") == ["GET /cart"]
    assert await values("name") == ["GET /cart", "at the start"]


async def test_tags(api: Api) -> None:
    """Names by scope and values with their types, narrowed by a query."""
    await api.store(*encode_spans(SPANS))
    body = await api.json("/tempo/api/v2/search/tags", **RANGE)
    scopes = {scope["name"]: scope["tags"] for scope in body["scopes"]}
    assert scopes["event"] == ["exception.type", "retries"]
    assert scopes["instrumentation"] == ["team"]
    assert scopes["link"] == ["cause"]
    assert scopes["resource"] == ["level", "service.name"]
    assert "duration" in scopes["intrinsic"]
    narrowed = await api.json("/tempo/api/v2/search/tags", scope="span", q='{ name = "render" }', **RANGE)
    # Tempo has columns of their own for common names, and lists those that any span has.
    assert narrowed["scopes"] == [{"name": "span", "tags": ["cached", "http.status_code", "odd key"]}]
    assert "team" in (await api.json("/tempo/api/search/tags", **RANGE))["tagNames"]
    assert (await api.json("/tempo/api/search/tags", scope="intrinsic", **RANGE))["tagNames"] == scopes["intrinsic"]

    async def values(tag: str, **parameters: Any) -> list[tuple[str, str]]:
        body = await api.json(f"/tempo/api/v2/search/tag/{tag}/values", **RANGE, **parameters)
        return sorted((value["type"], value.get("value", "")) for value in body["tagValues"])

    assert await values("resource.service.name") == [("string", ""), ("string", "agent"), ("string", "db"), ("string", "shop")]
    assert await values("span.size") == [("float", "3.0"), ("float", "4.5"), ("int", "3")]
    assert await values("span.tags") == [("string", "a"), ("string", "b")]
    assert await values("span.cached") == [("bool", "false"), ("bool", "true")]
    assert await values("span.nosuch") == []
    assert await values("span%253Aname") == await values("span:name") != []
    assert await values("span.%22odd%20key%22") == await values('span."odd key"') != []
    assert await values("span.%2522odd%2520key%2522") == []
    assert ("string", "GET /cart") in await values("name")
    assert await values("status") == [("keyword", "error"), ("keyword", "ok"), ("keyword", "unset")]
    assert len(await values("kind", q='{ name = "nosuch" }')) == 6
    assert await values(".team") == await values("instrumentation.team") != []
    assert await values(".team", q="{ kind != nil && duration >= 0s }") == []
    assert await values("name", q="{ status = error } | count() > 9") == await values("name", q="{ status = error }")
    assert await values("name", q="{ status = error }") == [("string", "orphan"), ("string", "query db"), ("string", "read row")]
    assert await values("rootName", q="{ status = error }") == [("string", "GET /cart")]
    assert await values("trace:rootService", q='{ name =~ "tool.*" }') == [("string", "agent")]
    assert await values("duration") == []
    assert (await api.get("/tempo/api/v2/search/tag/nope/values")).status == 400
    assert (await api.json("/tempo/api/search/tag/service.name/values", **RANGE))["tagValues"] == ["", "agent", "db", "shop"]


async def test_refusals(api: Api) -> None:
    """Bad queries and parameters are answered with 400 and plain text that says what and where."""
    cases: tuple[tuple[str, dict[str, str], str], ...] = (
        (SEARCH, {"q": "{ name = "}, "invalid TraceQL query: parse error at line 1, col 10"),
        (SEARCH, {"q": "{ } | rate()"}, "a metrics query has no traces"),
        (SEARCH, {"q": "{ }", "limit": "0"}, "limit"),
        (SEARCH, {"q": "{ }", "start": "20", "end": "10"}, "start"),
        (SEARCH, {"q": "{ }", "start": "20"}, "only one of start and end"),
        (SEARCH, {"q": "{ }", "start": "10.5", "end": "20"}, "start: '10.5' is not a number of whole seconds"),
        (SEARCH, {"q": "{ }", "start": "10", "end": "20000000000"}, "end: '20000000000' is not a number of whole seconds"),
        (SEARCH, {"tags": 'name="x'}, "logfmt"),
        ("/tempo/api/metrics/query_range", {"q": "{ }"}, "not a metrics query"),
        ("/tempo/api/metrics/query_range", {"q": "{ } | rate()", "step": "1ms"}, "step"),
        ("/tempo/api/v2/search/tags", {"scope": "bogus"}, "scope"),
    )
    for path, parameters, said in cases:
        response = await api.get(path, *parameters.items())
        assert (response.status, response.headers["Content-Type"].split(";")[0]) == (400, "text/plain"), path
        assert said in response.body.decode()


async def test_names_of_tags_in_a_range_of_very_many_spans(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the names that were noted while the spans were written; with a query every span is looked at, as ever."""
    await api.store(*encode_spans(SPANS * 8))
    asked = {"scope": "resource", **RANGE}
    exact = (await api.json("/tempo/api/v2/search/tags", **asked))["scopes"]
    monkeypatch.setattr(reader, "MANY_SPANS", 0)
    noted = (await api.json("/tempo/api/v2/search/tags", **asked))["scopes"]
    assert [(scope["name"], set(scope["tags"])) for scope in noted] == [(scope["name"], set(scope["tags"])) for scope in exact]
    of_one = await api.json("/tempo/api/v2/search/tags", q='{ resource.service.name = "shop" }', **asked)
    assert [scope["tags"] for scope in of_one["scopes"]] == [["level", "service.name"]]


async def test_a_trace_that_began_long_before_the_range(api: Api) -> None:
    """Its spans before the range count for what is related to them, whether it is searched for or counted."""
    root, middle, late = (wire_span(at * 10**9, name=name, trace_id=b"f" * 16, span_id=bytes([at // 60 + 1]) * 8) for at, name in LONG)
    middle.parent_span_id, late.parent_span_id = root.span_id, middle.span_id
    await api.store(of_service("agent", root, middle, late))
    at = START_NS // 10**9 + 7200
    within = {"start": at - 30, "end": at + 30}
    for query, count in (
        ('{ } >> { name = "call" }', 1),
        ('{ name = "call" } << { }', 0),
        ("{ } | count() > 2", 1),
    ):
        body = await api.json("/tempo/api/metrics/query_range", q=f"{query} | count_over_time()", step="60s", **within)
        assert sum(sample["value"] for series in body["series"] for sample in series["samples"] if "value" in sample) == count, query
    assert len((await api.json(SEARCH, q='{ } >> { name = "call" }', **within)).get("traces", [])) == 1


LONG = ((0, "run"), (3600, "step"), (7200, "call"))


async def test_related_spans_on_both_sides_of_what_is_searched_first(api: Api) -> None:
    """A search begins with the last two minutes of the range, and with the last ten seconds of them: traces are found that lie before,
    across and after the borders, or reach beyond the end.
    """
    ends = [
        (-130, -125),
        (-125, -115),
        (-400, -110),
        (-1000, -990),
        (-260, 30),
        (-60, -59),
        (-1, 200),
        (-12, -5),
        (-8, -3),
        (-90, -9),
        (-200, 250),
    ]
    for number, times in enumerate(ends):
        trace_id = bytes([number + 1]) * 16
        root, child = (wire_span(at * 10**9, name=name, trace_id=trace_id) for at, name in zip(times, ("run", "call"), strict=True))
        child.parent_span_id = root.span_id
        await api.store(of_service("agent", root, child))
    await api.store(of_service("agent", wire_span(-10 * 10**9, name="call")))
    at = START_NS // 10**9
    newest = [f"{number + 1:02x}" * 16 for number in sorted(range(len(ends)), key=lambda number: -ends[number][0])]
    for query in ('{ name = "run" } >> { name = "call" }', "{ } | count() > 1", '{ name = "run" } && { name = "call" }'):
        for limit in (2, 3, 5, 20, 100):
            body = await api.json(SEARCH, q=query, start=at - 1800, end=at, limit=limit)
            found = [trace["traceID"].zfill(32) for trace in body["traces"]]
            assert found == newest[:limit], (query, limit)


class FailsOnce(MemorySpansets):
    """A shard that fails the first time that it is asked for values."""

    failed = False

    async def tag_values(self, tenant: str, predicate: Predicate, time_range: TimeRange, named: Named, limit: int) -> Answer[set[Static]]:
        if not self.failed:
            self.failed = True
            raise Unavailable("gone")
        return await super().tag_values(tenant, predicate, time_range, named, limit)


async def test_values_of_several_scopes_lack_what_any_of_them_lacks() -> None:
    """Also when the shard is back before the last scope is asked for."""
    shards: Shards[SpansetReader] = Shards([Shard("shard-0", MemorySpansets([])), Shard("shard-1", FailsOnce([]))])
    async with serving(MemorySpans([]), spansets=MergedSpansets(shards)) as api:
        body = await api.json("/tempo/api/v2/search/tag/.size/values", **RANGE)
    assert (body["status"], body["message"]) == ("PARTIAL", "shard-1 did not answer")
