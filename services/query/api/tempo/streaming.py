"""Tempo's ``StreamingQuerier``: the answers of ``TempoAnswers``, sent in messages as their parts arrive.

A search sends each shard's traces when that shard has answered, at most ``limit`` in total and no trace twice, and reports how many shards
have answered; where more traces match, those of the shards that answer first are kept. With the hint ``most_recent=true`` the traces are
sent when every shard has answered. The other methods have one answer, sent in messages of bounded size.

Source: Tempo's ``tempopb`` service. Messages are made of the same JSON that the HTTP API sends, by protobuf's own mapping.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from services.query.api.rpc import Call, Method, Service, packets
from services.query.api.tempo.answers import JsonAnswer, TempoAnswers
from services.query.api.tempo.parameters import DEFAULT_LIMIT, MAX_LIMIT
from tael.pb import tempo_query_pb2 as pb
from tael.runtime.tasks import parts_and_result

M = TypeVar("M", bound=Message)


class StreamingQuerier:
    """The methods, over the answers."""

    def __init__(self, answers: TempoAnswers) -> None:
        self._answers = answers

    def service(self) -> Service:
        """The service of these methods."""
        return Service(
            "tempopb.StreamingQuerier",
            (
                Method("Search", pb.SearchRequest, self._search),
                Method("SearchTags", pb.SearchTagsRequest, self._tags_v1),
                Method("SearchTagsV2", pb.SearchTagsRequest, self._tags_v2),
                Method("SearchTagValues", pb.SearchTagValuesRequest, self._values_v1),
                Method("SearchTagValuesV2", pb.SearchTagValuesRequest, self._values_v2),
                Method("MetricsQueryRange", pb.QueryRangeRequest, self._metrics_range),
                Method("MetricsQueryInstant", pb.QueryInstantRequest, self._metrics_instant),
            ),
        )

    async def _search(self, call: Call, request: pb.SearchRequest) -> AsyncGenerator[Message]:
        limit, sent = min(request.Limit or DEFAULT_LIMIT, MAX_LIMIT), set[str]()

        def message(body: dict[str, Any]) -> pb.SearchResponse:
            # The final answer repeats the traces of the parts; each is sent once, and never more than the limit.
            fresh = [trace for trace in body["traces"] if trace["traceID"] not in sent][: limit - len(sent)]
            sent.update(trace["traceID"] for trace in fresh)
            return ParseDict(body | {"traces": fresh}, pb.SearchResponse())

        def ask(on_part: Callable[[dict[str, Any]], None]) -> Any:
            return self._answers.search(call.tenant, _search(request), on_part)

        async with contextlib.aclosing(parts_and_result(ask, name="tempo search")) as parts:
            async for part in parts:
                if isinstance(part, JsonAnswer):
                    call.lacks(part.missing)
                body = part.body if isinstance(part, JsonAnswer) else part
                for packet in packets(await asyncio.to_thread(message, body), "traces"):
                    yield packet

    async def _metrics_range(self, call: Call, request: pb.QueryRangeRequest) -> AsyncGenerator[Message]:
        given = {"q": request.query, "step": f"{request.step}ns" if request.step else "", "exemplars": str(request.exemplars)}
        answer = await self._answers.metrics(call.tenant, given | _nanoseconds(request), instant=False)
        for packet in await _messages(call, answer, pb.QueryRangeResponse, "series"):
            yield packet

    async def _metrics_instant(self, call: Call, request: pb.QueryInstantRequest) -> AsyncGenerator[Message]:
        answer = await self._answers.metrics(call.tenant, {"q": request.query} | _nanoseconds(request), instant=True)
        for packet in await _messages(call, answer, pb.QueryInstantResponse, "series"):
            yield packet

    async def _tags_v1(self, call: Call, request: pb.SearchTagsRequest) -> AsyncGenerator[Message]:
        for packet in await _messages(call, await self._answers.tags_v1(call.tenant, _tags(request)), pb.SearchTagsResponse):
            yield packet

    async def _tags_v2(self, call: Call, request: pb.SearchTagsRequest) -> AsyncGenerator[Message]:
        for packet in await _messages(call, await self._answers.tags_v2(call.tenant, _tags(request)), pb.SearchTagsV2Response):
            yield packet

    async def _values_v1(self, call: Call, request: pb.SearchTagValuesRequest) -> AsyncGenerator[Message]:
        answer = await self._answers.values_v1(call.tenant, _values(request), request.tagName)
        for packet in await _messages(call, answer, pb.SearchTagValuesResponse):
            yield packet

    async def _values_v2(self, call: Call, request: pb.SearchTagValuesRequest) -> AsyncGenerator[Message]:
        answer = await self._answers.values_v2(call.tenant, _values(request), request.tagName)
        for packet in await _messages(call, answer, pb.SearchTagValuesV2Response, "tagValues"):
            yield packet


async def _messages(call: Call, answer: JsonAnswer, kind: type[M], repeated: str = "") -> list[M]:
    """The answer in one message, or in several where a repeated field makes it large; a status is set only in messages that have
    the field.
    """
    call.lacks(answer.missing)

    def build() -> list[M]:
        message = ParseDict(answer.json, kind(), ignore_unknown_fields=True)
        return list(packets(message, repeated)) if repeated else [message]

    return await asyncio.to_thread(build)


def _search(request: pb.SearchRequest) -> dict[str, str]:
    tags = " ".join(f"{shlex.quote(name)}={shlex.quote(value)}" for name, value in sorted(request.Tags.items()))
    return {
        "q": request.Query,
        "tags": tags,
        "minDuration": f"{request.MinDurationMs}ms" if request.MinDurationMs else "",
        "maxDuration": f"{request.MaxDurationMs}ms" if request.MaxDurationMs else "",
        "limit": str(request.Limit or ""),
        "spss": str(request.SpansPerSpanSet or ""),
        **_seconds(request),
    }


def _tags(request: pb.SearchTagsRequest) -> dict[str, str]:
    return {"scope": request.scope, "q": request.query, "limit": str(request.maxTagsPerScope or ""), **_seconds(request)}


def _values(request: pb.SearchTagValuesRequest) -> dict[str, str]:
    return {"q": request.query, "limit": str(request.maxTagValues or ""), **_seconds(request)}


def _seconds(request: pb.SearchRequest | pb.SearchTagsRequest | pb.SearchTagValuesRequest) -> dict[str, str]:
    return {"start": str(request.start or ""), "end": str(request.end or "")}


def _nanoseconds(request: pb.QueryRangeRequest | pb.QueryInstantRequest) -> dict[str, str]:
    return {name: f"{ns // 10**9}.{ns % 10**9:09}" if ns else "" for name, ns in (("start", request.start), ("end", request.end))}
