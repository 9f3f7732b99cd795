"""Jaeger's collector API on the OTLP HTTP port: batches in Thrift's binary protocol, answered as Jaeger answers."""

from __future__ import annotations

from aiohttp import web

from services.ingest.receivers.body import read_body
from services.ingest.receivers.translated import Form, Protocol
from tael.jaeger.batch import read_batch
from tael.model.signals import TRACES

PATH = "/api/traces"
_THRIFT = ("application/x-thrift", "application/vnd.apache.thrift.binary")


def _form(request: web.Request) -> Form:
    if request.content_type not in _THRIFT:
        raise web.HTTPUnsupportedMediaType(reason=f"unsupported Content-Type (accepted: {', '.join(_THRIFT)})")
    return Form(read_body, read_batch)


JAEGER = Protocol(TRACES, "jaeger", 202, _form)
