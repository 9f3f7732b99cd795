"""Applies every tenant's limits in one process: rate buckets, series counts, the limits file with its overrides, and metrics and
warnings.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter

from services.ingest.limits.bucket import TokenBucket
from services.ingest.limits.keys import KeyWatch
from services.ingest.limits.rules import Limits, LimitSettings, limits_of, parser
from services.ingest.limits.series import SeriesLimiter
from tael.errors import Overloaded
from tael.model.series import Labels
from tael.otlp.keys import attribute_keys
from tael.otlp.signals import Signal
from tael.runtime.observe import get_logger
from tael.runtime.settings import LIMITS_FILE
from tael.runtime.watched import WatchedFile

log = get_logger("limits")
_MAX_BUCKETS = 10_000
_MAX_NAMED_TENANTS = 100
_MAX_TRACKED_KEYS, _LOOK_AT_ITEMS = 200_000, 500
_LEAST_DELAY_SECONDS = 0.001
"""Clients treat a delay of less than a microsecond as none at all."""


@dataclass(slots=True)
class _Buckets:
    limits: Limits
    bytes: TokenBucket | None
    items: TokenBucket | None


class TenantLimits:
    """Checks what each tenant may still send. ``now`` returns monotonic seconds."""

    def __init__(self, settings: LimitSettings, registry: CollectorRegistry, now: Callable[[], float] = time.monotonic) -> None:
        self._everybody = limits_of(settings)
        self._file = WatchedFile(settings.limits_file, parser(settings), LIMITS_FILE) if settings.limits_file else None
        self._now = now
        self._buckets: OrderedDict[str, _Buckets] = OrderedDict()
        self._named: set[str] = set()
        # Series are also counted in threads, which translate large requests; rates and keys are used in the event loop only.
        self._counting = threading.Lock()
        self._series = SeriesLimiter(self.limits, settings.max_tracked_series, self._warned)
        self._keys = KeyWatch(lambda tenant: self.limits(tenant).max_attribute_keys, _MAX_TRACKED_KEYS, self._warned)
        self._limited = Counter(
            "tael_ingest_limited",
            "Requests or series refused because of a tenant's limit.",
            ["tenant", "limit"],
            registry=registry,
        )
        self._near = Counter(
            "tael_ingest_limit_warnings",
            "Warnings that a tenant is close to its series limit or has too many attribute keys.",
            ["tenant"],
            registry=registry,
        )

    def limits(self, tenant: str) -> Limits:
        """A tenant's limits."""
        return self._file.read().get(tenant, self._everybody) if self._file else self._everybody

    def check(self, tenant: str) -> None:
        """Raise Overloaded when the tenant has to wait before it may send anything. To be called before a body is read."""
        buckets = self._tenant_buckets(tenant)
        # One byte and one item: the sizes are not known yet, and so little is refused only while a bucket is empty or in debt.
        self._require(tenant, "bytes_per_second", buckets.bytes, 1)
        self._require(tenant, "items_per_second", buckets.items, 1)

    def take(self, tenant: str, size_bytes: int, items: int) -> None:
        """Count a request against the tenant's rates. Raises Overloaded, and counts nothing, when it has to wait."""
        buckets = self._tenant_buckets(tenant)
        # Both buckets are checked before either is charged: a request refused by one must not be charged to the other.
        self._require(tenant, "bytes_per_second", buckets.bytes, size_bytes)
        self._require(tenant, "items_per_second", buckets.items, items)
        if buckets.bytes is not None:
            buckets.bytes.take(size_bytes)
        if buckets.items is not None:
            buckets.items.take(items)

    def admit_series(self, tenant: str, metric: str, labels: Labels) -> str:
        """Count one series of the tenant and return "", or return why it is refused. Thread-safe."""
        with self._counting:
            reason = self._series.admit(tenant, metric, labels, time.time())
        if reason:
            self._count(tenant, "series")
        return reason

    def look_at_keys(self, tenant: str, signal: Signal, request: bytes) -> None:
        """Count the attribute keys of some items of a checked request, if it is due to be sampled. Spans and log records only."""
        now = time.time()
        if self._keys.is_due(tenant, signal.items, now):
            self._keys.see(tenant, signal.items, attribute_keys(request, signal.item, _LOOK_AT_ITEMS), now)

    def take_warnings(self, tenant: str) -> str:
        """The warnings not yet sent to the tenant, as one line; empty when there are none."""
        with self._counting:
            warnings = self._series.take_warnings(tenant), self._keys.take_warnings(tenant)
        return "; ".join(text for text in warnings if text)

    def _require(self, tenant: str, limit: str, bucket: TokenBucket | None, amount: float) -> None:
        if bucket is None or not (delay := bucket.delay_seconds(amount, self._now())):
            return
        self._count(tenant, limit)
        raise Overloaded(
            f"tenant {tenant} sends more than its {limit} of {bucket.rate:g}", retry_after_seconds=max(delay, _LEAST_DELAY_SECONDS)
        )

    def _tenant_buckets(self, tenant: str) -> _Buckets:
        limits = self.limits(tenant)
        found = self._buckets.get(tenant)
        # By identity, which is cheap for each request: re-reading the limits file gives the tenants it names full buckets, at most one
        # burst.
        if found is None or found.limits is not limits:
            found = self._buckets[tenant] = _Buckets(
                limits, self._bucket(limits.bytes_per_second, limits), self._bucket(limits.items_per_second, limits)
            )
            self._forget_idle()
        self._buckets.move_to_end(tenant)
        return found

    def _bucket(self, rate: int, limits: Limits) -> TokenBucket | None:
        return TokenBucket.full(rate, limits.burst_seconds, self._now()) if rate else None

    def _forget_idle(self) -> None:
        """Callers choose tenants' names, so the least recently used buckets are dropped to bound memory."""
        while len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)

    def _count(self, tenant: str, limit: str) -> None:
        self._limited.labels(self._name(tenant), limit).inc()

    def _warned(self, tenant: str, text: str) -> None:
        self._near.labels(self._name(tenant)).inc()
        log.warning("tenant close to a limit", tenant=tenant, reason=text)

    def _name(self, tenant: str) -> str:
        """The label value of a tenant: the first hundred tenants have their own."""
        if len(self._named) < _MAX_NAMED_TENANTS:
            self._named.add(tenant)
        return tenant if tenant in self._named else "(others)"
