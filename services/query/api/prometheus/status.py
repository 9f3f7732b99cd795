"""The status endpoints of Prometheus' HTTP API, answered like a Prometheus without scrape targets and rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

SPEAKS: Final = "3.7.0"
"""The Prometheus version whose API this is; Grafana chooses its requests by it. There is no list of features, because that would mean
Mimir.
"""


@dataclass(frozen=True, slots=True)
class Described:
    """The process: when it started (seconds since 1970), and its settings that have a flag in Prometheus."""

    started_at: float
    flags: dict[str, str]


def _build(_: Described) -> dict[str, str]:
    return {"version": SPEAKS, "revision": "tael", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""}


def _runtime(described: Described) -> dict[str, Any]:
    started = datetime.fromtimestamp(described.started_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "startTime": started,
        "CWD": "/",
        "reloadConfigSuccess": True,
        "lastConfigTime": started,
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": 0,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": "",
    }


def _tsdb(_: Described) -> dict[str, Any]:
    return {
        "headStats": {"numSeries": 0, "numLabelPairs": 0, "chunkCount": 0, "minTime": 0, "maxTime": 0},
        "seriesCountByMetricName": [],
        "labelValueCountByLabelName": [],
        "memoryInBytesByLabelName": [],
        "seriesCountByLabelValuePair": [],
    }


STATUS: dict[str, Callable[[Described], Any]] = {
    "status/buildinfo": _build,
    "status/config": lambda _: {"yaml": ""},
    "status/flags": lambda described: described.flags,
    "status/runtimeinfo": _runtime,
    "status/tsdb": _tsdb,
    "alerts": lambda _: {"alerts": []},
    "alertmanagers": lambda _: {"activeAlertmanagers": [], "droppedAlertmanagers": []},
    "targets": lambda _: {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}},
    "targets/metadata": lambda _: [],
}
