"""Tempo's API: over HTTP under ``/tempo``, and its streaming service over gRPC."""

from __future__ import annotations

from services.query.api.family import Family
from services.query.api.tempo.answers import TempoAnswers
from services.query.api.tempo.search import TempoSearch
from services.query.api.tempo.streaming import StreamingQuerier
from services.query.api.tempo.traces import Tempo, refuse_tempo
from services.query.backend import Backend


def family(backend: Backend) -> Family:
    """Tempo's API over the spans of ``backend``."""
    answers = TempoAnswers(backend)
    routes = [*Tempo(backend).routes(), *TempoSearch(answers).routes()]
    return Family(routes, prefixes=("/tempo",), roots=("/tempo/",), refuse=refuse_tempo, services=(StreamingQuerier(answers).service(),))
