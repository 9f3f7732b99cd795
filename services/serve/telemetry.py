"""The supervisor's own loopback listener: ``/metrics`` and ``/readyz`` of its processes, and the scrape targets for Prometheus."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import REGISTRY, Gauge

from services.serve.plan import SERVE, Process
from services.serve.process import Supervised
from tael.runtime import http
from tael.runtime.config import Address
from tael.runtime.service import Readiness

_LABELS = ["process"]
READY = Gauge("tael_serve_ready", "1 while the process's readiness check succeeds.", _LABELS, registry=REGISTRY)
RESIDENT = Gauge("tael_serve_resident_bytes", "Resident memory; Linux only.", _LABELS, registry=REGISTRY)


def application(watched: Sequence[Supervised], own: Address) -> web.Application:
    """The listener's application; ``own`` is its address."""
    for one in watched:
        name = one.process.name
        READY.labels(name).set_function(lambda one=one: one.ready.is_set())  # type: ignore[misc]  # binds the loop's variable
        RESIDENT.labels(name).set_function(lambda one=one: resident_bytes(one.pid))  # type: ignore[misc]  # the same
    app = http.internal_app(own, _AllReady(watched))
    listed = targets((one.process for one in watched), own)

    async def answer(_: web.Request) -> web.Response:
        return http.json_response(listed)

    app.router.add_get("/internal/targets", answer)
    return app


def targets(processes: Iterable[Process], own: Address) -> list[dict[str, Any]]:
    """Every process's ``/metrics`` in the format of Prometheus' HTTP service discovery, including the supervisor's at ``own``."""
    return [http.scrape_target(SERVE, SERVE, str(own)), *(http.scrape_target(p.target, p.name, p.metrics) for p in processes if p.metrics)]


def resident_bytes(pid: int | None) -> int:
    """The resident memory of a process; 0 if there is none, or the system is not Linux."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


class _AllReady(Readiness):
    """Ready when every supervised process is."""

    def __init__(self, watched: Sequence[Supervised]) -> None:
        super().__init__()
        self._watched = watched

    @property
    def reasons(self) -> dict[str, str]:
        """The processes that are not ready, and why."""
        return {one.process.name: one.problem for one in self._watched if not one.ready.is_set()}
