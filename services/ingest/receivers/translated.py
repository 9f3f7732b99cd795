"""Requests of protocols that are translated to OTLP: read, translated beside the others, admitted, answered with a status and a line of text.

Success when all of it is stored. 400 when some of it never can be, once the rest is stored: senders do not send that again.
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
    """One encoding of a protocol. ``translate`` is given the body and the most messages that it may hold."""

    read: ReadBody
    translate: Translate


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a protocol sends, and the status that says that all of it is stored. ``form`` raises for an encoding that is not taken."""

    signal: str
    transport: str
    success: int
    form: Callable[[web.Request], Form]

    def route(self, settings: ReceiverSettings, pipeline: Pipeline) -> http.Route:
        """The handler of its requests."""
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
            await reservation.take(max(0, len(converted) - len(body)))
            outcome = await pipeline.admit(SIGNALS[self.signal], tenant, converted, reservation)
        # Warnings alone go unsaid: these protocols have no place for them beside success, and a text would turn it into a 400.
        said = "; ".join(text for text in (left_out, outcome.message if outcome.rejected else "") if text)
        return http.describe_text(400, said) if said else web.Response(status=self.success)


def _translated(translate: Translate, body: bytes, most: int) -> tuple[bytes, str]:
    found = translate(body, most)
    return found.request.SerializeToString(), found.explain()
