"""Receives protocols that are translated to OTLP; answers with a status and a line of text.

A request is a success when all of it is stored. If some of it can never be stored, the answer is 400 once the rest is stored: senders do
not retry a 400.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import web

from services.ingest.budget import Reservation
from services.ingest.pipeline import Pipeline
from services.ingest.receivers.body import tenant_of
from services.ingest.receivers.settings import ReceiverSettings
from tael.otlp.signals import SIGNALS
from tael.otlp.translated import Translated
from tael.runtime import http

ReadBody: TypeAlias = "Callable[[web.Request, Pipeline, Reservation, int], Awaitable[bytes]]"
Translate: TypeAlias = "Callable[[bytes, int], Translated[Any]]"
_INLINE_BYTES = 32 << 10


@dataclass(frozen=True, slots=True)
class Form:
    """One encoding of a protocol. ``translate`` takes the body and the maximum number of messages in it."""

    read: ReadBody
    translate: Translate


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol: its signal, its name in metrics, the status of success, and the form of a request. ``form`` raises for an unsupported
    encoding.

    With ``empty``, a request that holds nothing is answered with 422 and this text.
    """

    signal: str
    transport: str
    success: int
    form: Callable[[web.Request], Form]
    empty: str = ""

    def route(self, settings: ReceiverSettings, pipeline: Pipeline) -> http.Route:
        """The handler of the protocol's requests."""
        answered = http.errors_to_status(http.describe_text)

        async def receive(request: web.Request) -> web.StreamResponse:
            with pipeline.telemetry.request(self.signal, self.transport):
                return await self._receive(request, settings, pipeline)

        async def handle(request: web.Request) -> web.StreamResponse:
            answer: web.StreamResponse = await answered(request, receive)
            return answer

        return handle

    async def _receive(self, request: web.Request, settings: ReceiverSettings, pipeline: Pipeline) -> web.Response:
        form, tenant = self.form(request), tenant_of(request, pipeline)
        async with pipeline.reserve(tenant) as reservation:
            body = await form.read(request, pipeline, reservation, settings.max_request_bytes)
            arguments = (form.translate, body, settings.max_request_messages)
            converted, left_out = await pipeline.compute(_translated, *arguments, small=len(body) <= _INLINE_BYTES)
            if self.empty and not converted and not left_out:
                return http.describe_text(422, self.empty)
            await reservation.take(max(0, len(converted) - len(body)))
            outcome = await pipeline.admit(SIGNALS[self.signal], tenant, converted, reservation)
        # Warnings alone are dropped: these protocols have no place for them in a successful answer.
        refused = "; ".join(text for text in (left_out, outcome.message if outcome.rejected else "") if text)
        return http.describe_text(400, refused) if refused else web.Response(status=self.success)


def _translated(translate: Translate, body: bytes, most: int) -> tuple[bytes, str]:
    translated = translate(body, most)
    return translated.request.SerializeToString(), translated.explain()
