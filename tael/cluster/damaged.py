"""Handles keys whose value cannot be decoded: log once, report on ``/metrics``, and continue without them."""

from __future__ import annotations

from typing import TypeVar

from prometheus_client import REGISTRY, Gauge

from tael.cluster.api import Versioned
from tael.cluster.stored import Stored
from tael.errors import Damaged
from tael.runtime.observe import get_logger

log = get_logger("cluster")
S = TypeVar("S", bound=Stored)
_DAMAGED = Gauge("tael_cluster_damaged_keys", "1 for a key of the cluster's state that cannot be read.", ["key"], registry=REGISTRY)


class DamagedKeys:
    """The damaged keys that this process has met, with the last revision logged for each."""

    def __init__(self) -> None:
        self._reported: dict[str, int] = {}

    def read(self, kind: type[S], stored: Versioned) -> S | None:
        """The decoded value, or None for a damaged one, which is logged once for each revision."""
        try:
            value = kind.decode(stored)
        except Damaged as error:
            self.report(error, stored)
            return None
        self.forget(stored.key)
        return value

    def report(self, error: Damaged, stored: Versioned) -> None:
        """Log a damaged key, once for each revision, and show it on ``/metrics``."""
        if self._reported.get(stored.key) != stored.revision:
            log.error(
                "a key of the cluster's state is damaged; docs/operations.md says how to repair it", key=error.key, reason=error.reason
            )
        self._reported[stored.key] = stored.revision
        _DAMAGED.labels(stored.key).set(1)

    def forget(self, key: str) -> None:
        """Clear a key that can be read again, or is gone."""
        if self._reported.pop(key, None) is not None:
            _DAMAGED.remove(key)
            log.info("a damaged key was repaired", key=key)
