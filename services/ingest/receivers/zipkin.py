"""Zipkin's v2 API on the OTLP HTTP port: spans in JSON, answered as Zipkin answers."""

from __future__ import annotations

from aiohttp import web

from services.ingest.receivers.body import read_body
from services.ingest.receivers.translated import Form, Protocol
from tael.model.signals import TRACES
from tael.zipkin.v2 import read_spans

PATH = "/api/v2/spans"
_JSON = "application/json"


def _form(request: web.Request) -> Form:
    if "Content-Type" in request.headers and request.content_type != _JSON:
        raise web.HTTPUnsupportedMediaType(reason=f"unsupported Content-Type (accepted: {_JSON})")
    return Form(read_body, read_spans)


ZIPKIN = Protocol(TRACES, "zipkin", 202, _form)
