"""Health, metrics and the cluster's state on the API's port, for clients that cannot reach the internal one."""

from __future__ import annotations

from services.query.api.family import OPEN, Family, Route
from services.query.backend import Backend
from tael.auth import ADMIN
from tael.runtime.http import cluster_routes, process_routes

_WITHOUT_TOKEN = ("/healthz", "/readyz")


def family(backend: Backend) -> Family:
    """Health needs no token; metrics and the cluster need scope admin."""
    routes = process_routes(backend.readiness) | cluster_routes(backend.status.read)
    return Family([Route("GET", path, handler, OPEN if path in _WITHOUT_TOKEN else ADMIN) for path, handler in routes.items()])
