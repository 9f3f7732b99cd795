"""The APIs that the query service serves. A new one is a folder under ``api/`` and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.query.api import jaeger, loki, native, process, prometheus, tempo
from services.query.api.family import Family
from services.query.backend import Backend

APIS: Final[tuple[Callable[[Backend], Family], ...]] = (
    process.family,
    native.family,
    prometheus.family,
    tempo.family,
    jaeger.family,
    loki.family,
)
