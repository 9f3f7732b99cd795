"""Tempo's HTTP API, under ``/tempo``."""

from __future__ import annotations

from services.query.api.family import Family
from services.query.api.tempo.traces import Tempo, refuse_tempo
from services.query.backend import Backend


def family(backend: Backend) -> Family:
    """The API over the spans."""
    api = Tempo(backend.spans, backend.turns, max_trace_spans=backend.settings.max_trace_spans)
    return Family(api.routes(), prefixes=("/tempo",), roots=("/tempo/",), refuse=refuse_tempo)
