"""Jaeger's HTTP API, under ``/jaeger``."""

from __future__ import annotations

from services.query.api.family import Family
from services.query.api.jaeger.routes import Jaeger, refuse_jaeger
from services.query.backend import Backend


def family(backend: Backend) -> Family:
    """The API over the spans."""
    return Family(Jaeger(backend).routes(), prefixes=("/jaeger",), roots=("/jaeger/",), refuse=refuse_jaeger)
