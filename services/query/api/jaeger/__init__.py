"""Jaeger's API: over HTTP under ``/jaeger``, and both of its query services over gRPC."""

from __future__ import annotations

from services.query.api.family import Family
from services.query.api.jaeger.answers import JaegerAnswers
from services.query.api.jaeger.routes import Jaeger, refuse_jaeger
from services.query.api.jaeger.service_v2 import QueryServiceV2
from services.query.api.jaeger.service_v3 import QueryServiceV3
from services.query.backend import Backend


def family(backend: Backend) -> Family:
    """Jaeger's API over the spans of ``backend``."""
    answers = JaegerAnswers(backend)
    services = (QueryServiceV2(answers).service(), QueryServiceV3(answers).service())
    return Family(Jaeger(answers).routes(), prefixes=("/jaeger",), roots=("/jaeger/",), refuse=refuse_jaeger, services=services)
