"""The native API of LLM calls, under ``/api/v1/llm``: calls, their usage, sessions with their conversation, and tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.partial import partial_json
from services.query.api.native.span_json import rfc3339, span_json
from services.query.api.tenant import tenant_of
from services.query.backend import Backend
from services.query.questions import llm_calls, llm_session, llm_usage
from tael.model.llm_calls import LlmUsage
from tael.model.span import Span
from tael.model.time import NS_PER_MS
from tael.otlp.conversation import Message, Part
from tael.runtime.http import json_response

_OF_A_CALL = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "service",
    "operation",
    "start_time",
    "duration_ms",
    "status",
    "status_message",
    "llm",
)


class LlmApi:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """Every route."""
        return [
            Route("GET", "/api/v1/llm/calls", self.calls),
            Route("GET", "/api/v1/llm/usage", self.usage),
            Route("GET", "/api/v1/llm/sessions", self.sessions),
            Route("GET", "/api/v1/llm/sessions/{id}", self.session),
            Route("GET", "/api/v1/llm/tools", self.tools),
        ]

    async def calls(self, request: web.Request) -> web.Response:
        """``GET /api/v1/llm/calls``: LLM calls, newest first, without their texts."""
        async with llm_calls.find_calls(self._backend, tenant_of(request), list(request.query.items())) as page:
            return json_response({"calls": [_call_json(span) for span in page.items], "cursor": page.cursor, **partial_json(page.missing)})

    async def usage(self, request: web.Request) -> web.Response:
        """``GET /api/v1/llm/usage``: calls, tokens and cost by model, service, user, session and more, each call counted once."""
        async with llm_usage.usage(self._backend, tenant_of(request), list(request.query.items())) as found:
            listed = [{**dict(zip(found.by, one.key, strict=True)), **_usage_json(one)} for one in found.groups]
            total = _usage_json(found.total) if found.total else None
            return json_response({"usage": listed, "total": total, **partial_json(found.missing)})

    async def sessions(self, request: web.Request) -> web.Response:
        """``GET /api/v1/llm/sessions``: sessions and their usage, newest first."""
        async with llm_usage.sessions(self._backend, tenant_of(request), list(request.query.items())) as found:
            listed = [{"session_id": one.used.key[0], **one.names, **_usage_json(one.used)} for one in found.value]
            return json_response({"sessions": listed, **partial_json(found.missing)})

    async def session(self, request: web.Request) -> web.Response:
        """``GET /api/v1/llm/sessions/{id}``: the conversation of a session, in order and across traces, each message once."""
        name = request.match_info["id"]
        async with llm_session.get_session(self._backend, tenant_of(request), name, list(request.query.items())) as found:
            used = found.usage
            answer = {
                "session_id": name,
                "traces": [trace_id.hex() for trace_id in found.traces],
                "messages": [_message_json(new.span, new.message) for new in found.messages],
                "usage": {
                    "calls": used.calls,
                    "input_tokens": used.input_tokens,
                    "output_tokens": used.output_tokens,
                    "cost_usd": used.cost_usd,
                },
                **partial_json(found.missing),
            }
            if found.unresolved:
                answer["unresolved_payloads"] = found.unresolved
            if found.older_ns is not None:
                answer["truncated"] = f"only the newest part of the session; for older messages use end={rfc3339(found.older_ns)}"
            return json_response(answer)

    async def tools(self, request: web.Request) -> web.Response:
        """``GET /api/v1/llm/tools``: how often each tool was called, how long it took and how often it failed."""
        async with llm_usage.tools(self._backend, tenant_of(request), list(request.query.items())) as found:
            return json_response({"tools": [_tool_json(one) for one in found.value], **partial_json(found.missing)})


def _call_json(span: Span) -> Mapping[str, Any]:
    whole = span_json(span)
    return {name: whole[name] for name in _OF_A_CALL if name in whole}


def _usage_json(one: LlmUsage) -> dict[str, Any]:
    return {
        "calls": one.calls,
        "errors": one.failed,
        "traces": one.traces,
        **one.tokens,
        "cost_usd": one.cost_usd,
        "calls_without_cost": one.unpriced,
        **_durations_json(one.durations_ns.tolist()),
        "first": rfc3339(one.first_ns),
        "last": rfc3339(one.last_ns),
    }


def _tool_json(one: LlmUsage) -> dict[str, Any]:
    name, agent = one.key
    return {
        "tool": name or None,
        "agent": agent or None,
        "calls": one.calls,
        "errors": one.failed,
        "error_rate": one.failed / one.calls,
        **_durations_json(one.durations_ns.tolist()),
        "last": rfc3339(one.last_ns),
    }


def _durations_json(ordered: Sequence[int]) -> dict[str, float]:
    shares = {"p50_duration_ms": 0.5, "p95_duration_ms": 0.95}
    return {name: llm_usage.quantile_ns(ordered, share) / NS_PER_MS for name, share in shares.items()}


def _message_json(span: Span, message: Message) -> dict[str, Any]:
    body = {
        "role": message.role,
        "parts": [_part_json(part) for part in message.parts],
        "timestamp": rfc3339(span.start_ns),
        "model": (span.llm and (span.llm.response_model or span.llm.model)) or None,
        "agent": (span.llm and span.llm.agent_name) or None,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
    }
    return body | {"finish_reason": message.finish_reason} if message.finish_reason else body


def _part_json(part: Part) -> dict[str, Any]:
    if part.kind == "tool_call":
        return {"type": part.kind, "name": part.name, "id": part.call_id or None, "arguments": part.arguments}
    if part.kind == "tool_result":
        return {"type": part.kind, "name": part.name or None, "id": part.call_id or None, "text": part.text}
    return {"type": part.kind, "value": part.value} if part.kind == "other" else {"type": part.kind, "text": part.text}
