"""Tempo's HTTP API, under ``/tempo``."""

from __future__ import annotations

from services.query.api.family import Family
from services.query.api.tempo.search import TempoSearch
from services.query.api.tempo.traces import Tempo, refuse_tempo
from services.query.backend import Backend


def family(backend: Backend) -> Family:
    """The API over the spans."""
    routes = [*Tempo(backend).routes(), *TempoSearch(backend).routes()]
    return Family(routes, prefixes=("/tempo",), roots=("/tempo/",), refuse=refuse_tempo)
