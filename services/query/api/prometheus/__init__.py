"""Prometheus' HTTP API, under ``/prometheus`` and at the root."""

from __future__ import annotations

import time

from services.query.api.family import Family
from services.query.api.prometheus.errors import refuse_prometheus
from services.query.api.prometheus.routes import Prometheus, PrometheusOptions
from services.query.api.prometheus.status import Described
from services.query.backend import Backend


def family(backend: Backend) -> Family:
    """The API over one engine."""
    settings = backend.settings
    flags = {
        "query.lookback-delta": f"{settings.promql_lookback_seconds:g}s",
        "query.max-concurrency": str(settings.query_concurrency),
        "query.max-samples": str(settings.promql_max_samples),
        "query.timeout": f"{settings.query_timeout_seconds:g}s",
    }
    options = PrometheusOptions(settings.query_timeout_seconds, Described(time.time(), flags))
    api = Prometheus(backend.engine, backend.turns, options)
    return Family(api.routes(), prefixes=("/prometheus", ""), roots=("/prometheus/",), refuse=refuse_prometheus)
