"""Tempo's search, tags and metrics over HTTP: the answers of ``TempoAnswers`` as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from services.query.api.family import Handler, Route
from services.query.api.tempo.answers import JsonAnswer, TempoAnswers
from services.query.api.tempo.llm import llm_values
from services.query.api.tempo.traces import llm_response, wants_llm
from services.query.api.tenant import tenant_of
from tael.runtime.http import json_response


class TempoSearch:
    """The handlers."""

    def __init__(self, answers: TempoAnswers) -> None:
        self._answers = answers

    def routes(self) -> list[Route]:
        """Every route, below the family's prefix."""
        answers = self._answers
        return [
            Route("GET", "/api/search", _handler(answers.search)),
            Route("GET", "/api/search/tags", _handler(answers.tags_v1)),
            Route("GET", "/api/v2/search/tags", _handler(answers.tags_v2)),
            Route("GET", "/api/search/tag/{tag}/values", self.values_v1),
            Route("GET", "/api/v2/search/tag/{tag}/values", self.values_v2),
            Route("GET", "/api/metrics/query_range", self.metrics_range),
            Route("GET", "/api/metrics/query", self.metrics_instant),
        ]

    async def metrics_range(self, request: web.Request) -> web.Response:
        """``GET /api/metrics/query_range``."""
        return json_response((await self._answers.metrics(tenant_of(request), request.query, instant=False)).json)

    async def metrics_instant(self, request: web.Request) -> web.Response:
        """``GET /api/metrics/query``: one value a series, for the whole range."""
        return json_response((await self._answers.metrics(tenant_of(request), request.query, instant=True)).json)

    async def values_v1(self, request: web.Request) -> web.Response:
        """``GET /api/search/tag/{tag}/values``."""
        return json_response((await self._answers.values_v1(tenant_of(request), request.query, request.match_info["tag"])).json)

    async def values_v2(self, request: web.Request) -> web.Response:
        """``GET /api/v2/search/tag/{tag}/values``; in the form for language models, values are grouped by type."""
        answer = await self._answers.values_v2(tenant_of(request), request.query, request.match_info["tag"])
        return llm_response(llm_values(answer.json)) if wants_llm(request) else json_response(answer.json)


def _handler(ask: Callable[[str, Mapping[str, str]], Awaitable[JsonAnswer]]) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return json_response((await ask(tenant_of(request), request.query)).json)

    return handler
