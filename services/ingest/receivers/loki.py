"""Loki's push API on the OTLP HTTP port: JSON, and protobuf in snappy, answered as Loki answers."""

from __future__ import annotations

from aiohttp import web

from services.ingest.receivers.body import read_body, read_snappy
from services.ingest.receivers.translated import Form, Protocol
from tael.loki import push
from tael.model.signals import LOGS

PATH = "/loki/api/v1/push"
_JSON, _PROTOBUF = "application/json", "application/x-protobuf"


def _form(request: web.Request) -> Form:
    kind = request.content_type if "Content-Type" in request.headers else _PROTOBUF
    if kind == _JSON:
        return Form(read_body, push.read_json)
    if kind != _PROTOBUF:
        raise web.HTTPUnsupportedMediaType(reason=f"unsupported Content-Type (accepted: {_JSON}, {_PROTOBUF})")
    return Form(read_snappy, push.read_protobuf)


LOKI = Protocol(LOGS, "loki", 204, _form, "error at least one valid stream is required for ingestion")
