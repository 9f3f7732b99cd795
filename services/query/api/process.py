"""What every process answers of itself and of the cluster, here for those who reach the query API alone."""

from __future__ import annotations

from services.query.api.family import OPEN, Family, Route
from services.query.backend import Backend
from tael.auth import ADMIN
from tael.runtime.http import cluster_routes, process_routes

_FOR_EVERYBODY = ("/healthz", "/readyz")


def family(backend: Backend) -> Family:
    """Health is for everybody; metrics and the cluster are for scope admin."""
    routes = process_routes(backend.readiness) | cluster_routes(backend.status.read)
    return Family([Route("GET", path, handler, OPEN if path in _FOR_EVERYBODY else ADMIN) for path, handler in routes.items()])
