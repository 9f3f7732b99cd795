"""Long traces are answered block by block: in every encoding what a short one is, bounded, cut off rather than ended where it fails."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection
from itertools import pairwise
from typing import Any, Final

import aiohttp
import grpc.aio
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from services.query.api.jaeger import answers
from services.query.questions import long_traces, spans
from tael.errors import Unavailable
from tael.model.attributes import Attributes
from tael.model.payload import Reference
from tael.model.span import Span
from tael.pb import jaeger_query_pb2 as v2
from tael.pb import jaeger_query_v3_pb2 as v3
from tael.pb.tempo_pb2 import PARTIAL, Trace, TraceByIDResponse
from tael.storage.api import Answer, Shard
from tael.storage.gather import Shards
from tael.storage.long_traces import Form, LongTraceReader, Outline, Part, Slice
from tael.storage.merged import MergedLongTraces
from tests.contract.test_span_storage import everything
from tests.support.doubles import MemoryLongTraces, MemoryPayloads, MemorySpans
from tests.support.query import Api, serving
from tests.support.storage import START_NS, model_of, new_trace_id, of_service, wire_span
from tests.support.stubs import stubs

_PROTOBUF: Final = {"Accept": "application/protobuf"}


def groups_of(trace_id: bytes) -> list[ResourceSpans]:
    """A trace of nine spans from three resources: every type of value, and a call of a model two spans below an agent's."""
    usage: Attributes = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}
    told: list[Attributes] = [
        {"gen_ai.operation.name": "invoke_agent", **usage},
        {},
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", **usage},
    ]
    shop = [wire_span(2 * index, trace_id=trace_id, span_id=bytes([index]) * 8) for index in range(1, 6)]
    agent = [wire_span(3 + index, trace_id=trace_id, span_id=bytes([65 + index]) * 8, attributes=own) for index, own in enumerate(told)]
    for span, around in pairwise(agent):
        around.parent_span_id = span.span_id
    return [everything(trace_id), of_service("shop", *shop), of_service("agent", *agent)]


def flat(groups: list[dict[str, Any]]) -> list[Any]:
    """Spans with what they came under, in order: resources may stand once a block."""
    return [
        ({key: value for key, value in group.items() if key != "scopeSpans"}, {**scoped, "spans": None}, span)
        for group in groups
        for scoped in group["scopeSpans"]
        for span in scoped["spans"]
    ]


def flat_protobuf(trace: Trace) -> list[Any]:
    """The same of protobuf."""
    groups = [ResourceSpans.FromString(group) for group in trace.resource_spans]
    return [
        (group.resource, group.schema_url, scoped.scope, scoped.schema_url, span)
        for group in groups
        for scoped in group.scope_spans
        for span in scoped.spans
    ]


def by_start(listed: list[Any]) -> list[Any]:
    """Grouping by resource comes before the order of time: compare without it."""
    return sorted(listed, key=repr)


def _v2(body: bytes) -> Any:
    response = TraceByIDResponse.FromString(body)
    return by_start(flat_protobuf(response.trace)), response.status, response.message, response.HasField("metrics")


def _llm(body: bytes) -> Any:
    trace = json.loads(body)["trace"]
    spans = [
        (service.get("serviceName"), service.get("resource"), scope.get("name"), span)
        for service in trace["services"]
        for scope in service["scopes"]
        for span in scope["spans"]
    ]
    return trace["traceId"], by_start(spans)


ENCODINGS: Final[dict[str, tuple[str, dict[str, str], Callable[[bytes], Any]]]] = {
    "native": ("/api/v1/traces/{}", {}, json.loads),
    "native, references": ("/api/v1/traces/{}?payloads=reference", {}, json.loads),
    "tempo v1": ("/tempo/api/traces/{}", {}, lambda body: by_start(flat(json.loads(body)["batches"]))),
    "tempo v1, protobuf": ("/tempo/api/traces/{}", _PROTOBUF, lambda body: by_start(flat_protobuf(Trace.FromString(body)))),
    "tempo v2": ("/tempo/api/v2/traces/{}", {}, lambda body: by_start(flat(json.loads(body)["trace"]["resourceSpans"]))),
    "tempo v2, protobuf": ("/tempo/api/v2/traces/{}", _PROTOBUF, _v2),
    "tempo, for language models": ("/tempo/api/v2/traces/{}", {"Accept": "application/vnd.grafana.llm"}, _llm),
    "jaeger": ("/jaeger/api/traces/{}", {}, json.loads),
    "jaeger v3": ("/jaeger/api/v3/traces/{}", {}, lambda body: by_start(flat(json.loads(body)["result"]["resourceSpans"]))),
}


@pytest.fixture
def cut_small(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes every trace a long one."""

    def cut() -> None:
        monkeypatch.setattr(spans, "WHOLE_SPANS", 1)
        monkeypatch.setattr(long_traces, "STEP", 2)

    return cut


async def test_a_long_trace_is_answered_like_a_short_one(api: Api, cut_small: Callable[[], None]) -> None:
    """In every encoding, where only the grouping by resource may differ."""
    trace_id = new_trace_id()
    await api.store(*groups_of(trace_id))

    async def all_of_them() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, (path, headers, read) in ENCODINGS.items():
            answer = await api.get(path.format(trace_id.hex()), headers=headers)
            assert answer.status == 200, (name, answer.body)
            found[name] = answer.headers["Content-Type"], read(answer.body)
        async with grpc.aio.insecure_channel(api.grpc) as channel:
            v2_chunks = stubs("jaeger_query").QueryServiceStub(channel).GetTrace(v2.GetTraceRequest(trace_id=trace_id))
            found["jaeger v2, gRPC"] = [span async for chunk in v2_chunks for span in chunk.spans]
            v3_chunks = stubs("jaeger_query_v3").QueryServiceStub(channel).GetTrace(v3.GetTraceRequest(trace_id=trace_id.hex()))
            groups = [group async for chunk in v3_chunks for group in chunk.resource_spans]
            found["jaeger v3, gRPC"] = by_start(flat_protobuf(Trace(resource_spans=groups)))
        return found

    whole = await all_of_them()
    cut_small()
    long = await all_of_them()
    assert long.keys() == whole.keys()
    for name in whole:
        assert long[name] == whole[name], name


async def test_the_answer_states_the_limit(api: Api) -> None:
    """How many spans there are, and that the first of them are here."""
    trace_id = new_trace_id()
    stored = await api.store(*groups_of(trace_id))
    async with serving(
        api.spans, api.tier, long_traces=api.tier.long_traces if api.tier else MemoryLongTraces(stored), TAEL_MAX_TRACE_SPANS="4"
    ) as small:
        native = await small.json(f"/api/v1/traces/{trace_id.hex()}")
        tempo = TraceByIDResponse.FromString((await small.get(f"/tempo/api/v2/traces/{trace_id.hex()}", headers=_PROTOBUF)).body)
        refused = await small.get(f"/tempo/api/traces/{trace_id.hex()}")
        jaeger = json.loads((await small.get(f"/jaeger/api/traces/{trace_id.hex()}")).body)
    assert native["span_count"] == 9
    assert native["truncated"] == "only the first 4 spans are here (TAEL_MAX_TRACE_SPANS)"
    assert [span["start_time"] for span in native["spans"]] == sorted(span["start_time"] for span in native["spans"])
    assert len(native["spans"]) == len(flat_protobuf(tempo.trace)) == len(jaeger["data"][0]["spans"]) == 4
    assert (tempo.status, tempo.message[:21]) == (PARTIAL, "the trace has 9 spans")
    assert refused.status == 413
    assert "9 spans" in jaeger["warnings"][0]
    assert jaeger["data"][0]["warnings"] == jaeger["warnings"]


class Scripted(MemoryLongTraces):
    """Reads of parts that answer until ``good`` are done; the next ones fail, or never end."""

    def __init__(self, spans: list[Span], good: int, error: Exception | None = None) -> None:
        super().__init__(spans)
        self.parts: list[Part] = []
        self.stopped, self.waiting = asyncio.Event(), asyncio.Event()
        self._good, self._error = good, error

    async def read_bytes(self, tenant: str, part: Part, form: Form, known: Collection[int] = ()) -> Answer[Slice]:
        self.parts.append(part)
        if len(self.parts) > self._good:
            if self._error is not None:
                raise self._error
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.set()
        return await super().read_bytes(tenant, part, form, known)


def many(count: int, size: int = 0) -> list[Span]:
    """A trace of spans with a text of so many bytes."""
    attributes = {"text": "x" * size}
    made = [wire_span(i, trace_id=b"t" * 16, span_id=i.to_bytes(8, "big"), attributes=attributes) for i in range(1, count + 1)]
    return model_of([of_service("s", *made)])


_PATH: Final = f"/api/v1/traces/{(b't' * 16).hex()}"


async def test_a_query_ends_when_its_client_disconnects(cut_small: Callable[[], None]) -> None:
    """What is being read then is cancelled, and nothing more is read."""
    cut_small()
    reader = Scripted(many(20), good=1)
    async with serving(MemorySpans(many(20)), long_traces=reader) as api:
        async with api.session.get(api.url + _PATH) as response:
            await response.content.readany()
            await asyncio.wait_for(reader.waiting.wait(), 20)
            response.close()
        await asyncio.wait_for(reader.stopped.wait(), 20)
    assert len(reader.parts) == 2


async def test_an_answer_that_fails_midway_is_aborted(cut_small: Callable[[], None]) -> None:
    """Nobody takes the beginning for the whole."""
    cut_small()
    async with serving(MemorySpans(many(20)), long_traces=Scripted(many(20), good=2, error=Unavailable("gone"))) as api:
        with pytest.raises(aiohttp.ClientError):
            await api.get(_PATH)


async def test_a_shard_that_goes_away_in_the_middle_is_named(cut_small: Callable[[], None]) -> None:
    """At the end of the answer, whose spans of the other shard are all there."""
    cut_small()
    shards: Shards[LongTraceReader] = Shards(
        [Shard("shard-0", MemoryLongTraces(many(20))), Shard("shard-1", Scripted(many(20), good=1, error=Unavailable("gone")))],
        deadline_seconds=5,
    )
    async with serving(MemorySpans(many(20)), long_traces=MergedLongTraces(shards)) as api:
        answer = await api.json(_PATH)
    assert (answer["partial"], answer["missing_shards"]) == (True, ["shard-1"])
    assert len(answer["spans"]) == 20


async def answered_beside(silent: LongTraceReader) -> Any:
    """The answer of a shard that answers and of ``silent``, which is not waited for long."""
    shards: Shards[LongTraceReader] = Shards([Shard("shard-0", MemoryLongTraces(many(20))), Shard("shard-1", silent)], deadline_seconds=0.5)
    async with serving(MemorySpans(many(20)), long_traces=MergedLongTraces(shards)) as api:
        return await api.json(_PATH)


async def test_a_shard_that_stops_answering_in_the_middle_is_waited_for_once(cut_small: Callable[[], None]) -> None:
    """Not with each of the blocks that follow."""
    cut_small()
    silent = Scripted(many(20), good=1)
    answer = await answered_beside(silent)
    assert (answer["missing_shards"], len(answer["spans"]), len(silent.parts)) == (["shard-1"], 20, 2)


class SilentOutline(Scripted):
    """A shard that never tells the outline."""

    async def outline(self, tenant: str, trace_id: bytes, most: int, step: int) -> Answer[Outline]:
        await asyncio.Event().wait()
        return await super().outline(tenant, trace_id, most, step)


async def test_a_shard_without_an_outline_is_not_waited_for_again(cut_small: Callable[[], None]) -> None:
    """The trace lacks its spans from the beginning."""
    cut_small()
    silent = SilentOutline(many(20), good=0)
    answer = await answered_beside(silent)
    assert (answer["missing_shards"], len(answer["spans"]), len(silent.parts)) == (["shard-1"], 20, 0)


async def test_blocks_are_as_large_as_the_setting_says(cut_small: Callable[[], None]) -> None:
    """A part holds more spans where they are small, and never many more bytes."""
    cut_small()
    sizes = {}
    for size in (0, 20_000):
        reader = Scripted(many(200, size), good=1_000)
        async with serving(MemorySpans(many(200, size)), long_traces=reader, TAEL_TRACE_BLOCK_BYTES="100KiB") as api:
            assert len((await api.json(_PATH))["spans"]) == 200
        sizes[size] = max([len((await reader.read_spans("default", part)).value) for part in reader.parts])
    assert sizes == {0: 74, 20_000: 4}


async def test_a_search_shows_the_beginning_of_a_long_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so: a search holds many traces at once."""
    monkeypatch.setattr(answers, "WHOLE_SPANS", 4)
    async with serving(MemorySpans(many(10))) as api:
        found = await api.json("/jaeger/api/traces", service="s", start=START_NS // 1000 - 10**6, end=START_NS // 1000 + 10**6)
        (whole,) = (await api.json(f"/jaeger/api/traces/{(b't' * 16).hex()}"))["data"]
    (trace,) = found["data"]
    assert trace["spans"] == whole["spans"][:4]
    assert "spans after the first 4 of trace" in found["warnings"][0]


async def test_payloads_are_in_place_up_to_the_bytes_of_an_answer(cut_small: Callable[[], None]) -> None:
    """Of all blocks together: what has no room stays a reference, and is counted."""
    cut_small()
    contents = [bytes([65 + index]) * 3_000 for index in range(6)]
    own: list[Attributes] = [{"text": str(Reference(hashlib.sha256(one).digest(), len(one)))} for one in contents]
    made = [wire_span(i, trace_id=b"t" * 16, span_id=bytes([i + 1]) * 8, attributes=attributes) for i, attributes in enumerate(own)]
    held = model_of([of_service("s", *made)])
    async with serving(MemorySpans(held), payloads=MemoryPayloads({"default": contents}), TAEL_MAX_INLINE_PAYLOAD_BYTES="12KiB") as api:
        answer = await api.json(_PATH)
        references = await api.json(_PATH, payloads="reference")
    texts = [span["attributes"]["text"] for span in answer["spans"]]
    assert texts == [*(one.decode() for one in contents[:4]), own[4]["text"], own[5]["text"]]
    assert answer["unresolved_payloads"] == 2
    assert [span["attributes"] for span in references["spans"]] == own
    assert "unresolved_payloads" not in references


async def test_a_trace_whose_answer_has_begun_waits_for_its_turn(cut_small: Callable[[], None]) -> None:
    """A trace of which a part was sent is not cut because others have taken all turns meanwhile; one that has not begun is refused."""
    cut_small()
    reader = Scripted(many(20), good=1_000)
    async with serving(MemorySpans(many(20)), long_traces=reader, TAEL_QUERY_CONCURRENCY="1", TAEL_QUERY_QUEUE="0") as api:
        answers_of_both = await asyncio.gather(api.get(_PATH), api.get(_PATH))
    assert {answer.status for answer in answers_of_both} <= {200, 429}
    assert [len(answer.json()["spans"]) for answer in answers_of_both if answer.status == 200]
    assert all(len(answer.json()["spans"]) == 20 for answer in answers_of_both if answer.status == 200)
