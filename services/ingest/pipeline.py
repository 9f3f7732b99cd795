"""From an export request's bytes to the WAL's acknowledgement, the same for every receiver.

The signal's admission decides what is stored of a request, and in which parts (services.ingest.admission). Each part is identified by a
digest of its content, so a client that retries after a lost answer stores nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry

from services.ingest.admission import Admission, Admitted, Census, Cut, Tolerant, Verbatim
from services.ingest.budget import ByteBudget, Reservation
from services.ingest.limits.tenants import TenantLimits
from services.ingest.metrics import Bounds, MetricAdmissions
from services.ingest.payloads import PayloadSender
from services.ingest.receivers.settings import MAX_REQUEST_BYTES, ReceiverSettings
from services.ingest.telemetry import Telemetry
from tael.cluster.shard import Router
from tael.errors import NotFound, TooLarge, Unavailable
from tael.model.lanes import wal_name
from tael.model.retention import oldest_taken_ns
from tael.model.signals import LOGS, METRICS, TRACES
from tael.model.tenant import DEFAULT_TENANT
from tael.otlp.census import request_tree
from tael.otlp.inflate import inflate
from tael.otlp.scan import Kept, log_route, scan_logs, scan_spans, span_route
from tael.otlp.signals import SIGNALS, Signal
from tael.otlp.split import Part
from tael.runtime.access import Access
from tael.runtime.memory import Memory
from tael.runtime.retention import CurrentRetention
from tael.runtime.settings import LIMITS_FILE
from tael.runtime.tasks import in_thread
from tael.wal import codec
from tael.wal.api import WalAppender

_INFLATE_INLINE_BYTES, _INFLATED_INLINE_BYTES = 64 << 10, 1 << 20
_ADMIT_INLINE_BYTES = 2 << 20
_LARGE_BYTES, _COPIES = 8 << 20, 3
"""A request with a value larger than one WAL entry is held in several copies while that value is extracted."""
_MESSAGE_BYTES = 128
"""The approximate size in Python of one message of the envelope."""
_THREADS = 2
_SETTING = {TRACES: "TRACE", LOGS: "LOG", METRICS: "METRIC"}
T = TypeVar("T")
KeptOf: TypeAlias = "Callable[[str, str, int], Kept]"
"""The retention of a signal and tenant at a time (ns)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a stored request: the number of refused items and the reasons; the message may also be a warning without refusals."""

    rejected: int = 0
    message: str = ""


def admissions(settings: ReceiverSettings, metrics: MetricAdmissions, kept: KeptOf) -> dict[str, Admission]:
    """The admission of every signal, by name. Attributes of metrics identify series, so oversized ones are refused, not truncated
    (tael.metrics).
    """
    limits = settings.item_limits
    strict = {
        TRACES: Verbatim(scan_spans, span_route, partial(kept, TRACES), settings.near_hours),
        LOGS: Verbatim(scan_logs, log_route, partial(kept, LOGS), settings.near_hours),
    }
    found: dict[str, Admission] = {
        METRICS: Tolerant(metrics.otlp, SIGNALS[METRICS].request, SIGNALS[METRICS].item, None, metrics.otlp.census)
    }
    for name, inner in strict.items():
        kind = SIGNALS[name].request
        root = request_tree(kind)
        found[name] = Tolerant(
            inner, kind, SIGNALS[name].item, limits, Census(root, root, settings.max_request_messages), settings.payload_sizes
        )
    return found


def kept_of(retention: CurrentRetention, signal: str, tenant: str, now_ns: int) -> Kept:
    """The retention of a tenant's signal at a time, with the setting that defines it."""
    current = retention.read()
    own = current.is_own(tenant, signal)
    set_by = f"retention_days.{signal} of {tenant} in {LIMITS_FILE}" if own else f"TAEL_{_SETTING[signal]}_RETENTION_DAYS"
    return Kept(oldest_taken_ns(now_ns, current.days(tenant, signal)), set_by)


class Pipeline:
    """One for the process. ``router`` is replaced when the shard map grows; ``access`` decides which tenant a request belongs to.

    ``require`` raises Overloaded while no request may be accepted.
    """

    def __init__(
        self,
        appender: WalAppender,
        router: Router,
        settings: ReceiverSettings,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        registry: CollectorRegistry = REGISTRY,
        require: Callable[[], None] = lambda: None,
    ) -> None:
        self.router = router
        self._require = require
        self.access = Access(settings.tokens_file)
        self.limits = TenantLimits(settings, registry)
        kept = partial(kept_of, CurrentRetention(settings))
        bounds = Bounds(partial(kept, METRICS), settings.max_request_messages, settings.near_hours)
        self.metrics = MetricAdmissions(settings, self.limits.admit_series, bounds, settings.remote_write_ahead_seconds)
        self._admissions = admissions(settings, self.metrics, kept)
        self._appender = appender
        self._payloads = PayloadSender(appender, settings.payloads_remembered, settings.payloads_relied_on_ns, registry)
        self._relied_ns = settings.payloads_relied_on_ns
        self._budget = ByteBudget(settings.max_inflight_bytes, settings.inflight_wait_seconds)
        self._max_request_bytes = settings.max_request_bytes
        self._computing = asyncio.Semaphore(_THREADS)
        self._memory = Memory()
        self._now_ns = now_ns
        self.telemetry = Telemetry(registry, held_bytes=lambda: self._budget.held_bytes, waiting_bytes=lambda: self._budget.waiting_bytes)

    def reserve(self, tenant: str = DEFAULT_TENANT) -> AbstractAsyncContextManager[Reservation]:
        """A reservation for one request's bytes, to be taken before they are held; released when the block ends.

        Raises Overloaded at once under backpressure or when the tenant exceeds its rate, before anything is read.
        """
        self._require()
        self.limits.check(tenant)
        return self._budget.reserve(tenant)

    @property
    def held_bytes(self) -> int:
        """Bytes of the requests in this process now."""
        return self._budget.held_bytes

    def admission(self, signal: Signal) -> Admission:
        """The signal's admission. Raises NotFound for a signal that this server does not receive."""
        admission = self._admissions.get(signal.name)
        if admission is None:
            raise NotFound(f"this server does not receive {signal.name}")
        return admission

    async def inflate(self, encoding: str, body: bytes, reservation: Reservation) -> bytes:
        """Decompress ``body`` within the request limit, and reserve the bytes it grew by. Raises TooLarge, Rejected or Overloaded.

        Small bodies that stay small are decompressed at once, the others in a few threads. A thread's turn ends only after the budget has
        granted its bytes, so that no more than a few decompressed requests are ever unaccounted for.
        """
        if len(body) <= _INFLATE_INLINE_BYTES:
            with contextlib.suppress(TooLarge):
                inflated = inflate(encoding, body, min(self._max_request_bytes, _INFLATED_INLINE_BYTES), MAX_REQUEST_BYTES)
                await reservation.take(max(0, len(inflated) - len(body)))
                return inflated
        async with self._computing:
            inflated = await in_thread(inflate, encoding, body, self._max_request_bytes, MAX_REQUEST_BYTES)
            await reservation.take(max(0, len(inflated) - len(body)))
        return inflated

    async def compute(self, call: Callable[..., T], *args: object, small: bool) -> T:
        """The result of ``call``: computed at once when ``small``, else in one of a few threads.

        The event loop must stay free to renew leases and to answer other clients.
        """
        if small:
            return call(*args)
        async with self._computing:
            result = await in_thread(call, *args)
        if self._memory.is_due:
            await in_thread(self._memory.give_back)
        return result

    async def admit(
        self, signal: Signal, tenant: str, request: bytes, reservation: Reservation, admission: Admission | None = None
    ) -> Outcome:
        """Store a request; return once all of it is durable. ``admission`` overrides the signal's own, for formats other than OTLP.

        ``reservation`` holds the request's bytes, and the memory needed while it is checked. Raises Rejected when it is malformed,
        Overloaded or Unavailable when the WAL did not take all of it: the client may then send the same request again, and no part is
        stored twice.
        """
        cut = Cut(self.router, self._appender.max_body_bytes - codec.overhead_bytes(tenant), self._now_ns())
        admitted = await self._checked(admission or self.admission(signal), tenant, request, reservation, cut)
        rejected = len(admitted.refusals.positions)
        # After the check, which counts the items, and before the append: a request over the rate must be refused before any of it is
        # stored.
        self.limits.take(tenant, len(request), admitted.items - rejected)
        self.telemetry.received.labels(signal.name).inc(len(request))
        if len(admitted.parts) == 1:
            await self._append(admitted.parts[0], signal.name, tenant, cut.now_ns)
        elif admitted.parts:
            await self._append_all(admitted.parts, signal.name, tenant, cut.now_ns)
        # Series count as announced only now: after a failed append, the next request would otherwise omit labels that nobody can look up.
        admitted.appended()
        if admitted.parts and signal.watched:
            self.limits.look_at_keys(tenant, signal, admitted.parts[0].request)
        self.telemetry.accepted.labels(signal.name).inc(admitted.items - rejected)
        self.telemetry.rejected.labels(signal.name).inc(rejected)
        messages = (admitted.refusals.explain(admitted.items, signal.items), *admitted.warnings, self.limits.take_warnings(tenant))
        return Outcome(rejected, "; ".join(text for text in messages if text))

    async def _checked(self, admission: Admission, tenant: str, request: bytes, reservation: Reservation, cut: Cut) -> Admitted:
        """Check and cut a request; a large one in a thread, after reserving the memory that its parsed form needs."""
        if len(request) <= _ADMIT_INLINE_BYTES and admission.is_light(request):
            return admission.admit(tenant, request, cut)
        messages = await self.compute(admission.weigh, request, small=False)
        # Only parsing would show whether a value is that large, so any request of this size is assumed to have one.
        copies = _COPIES if len(request) > _LARGE_BYTES else 1
        async with reservation.more(copies * len(request) + messages * _MESSAGE_BYTES):
            return await self.compute(admission.admit, tenant, request, cut, small=False)

    async def _append(self, part: Part, signal: str, tenant: str, received_at_ns: int) -> None:
        """Append a part after the payloads it refers to."""
        # Read before the payloads are sent or skipped as known: any loss of WAL entries from here on changes the count.
        turns = self._appender.turns(part.shard)
        if part.payloads:
            await self._payloads.send(part.shard, tenant, part.payloads, received_at_ns)
        digest = hashlib.sha256(f"{tenant}\0{signal}\0{part.shard}\0".encode())
        digest.update(part.request if part.identity is None else part.identity)
        known_by = digest.digest()[: codec.DIGEST_BYTES]
        body = codec.encode(tenant, received_at_ns, part.request, digest=known_by, items=part.items)
        await self._appender.append(part.shard, signal, body, part.items, known_by.hex())
        if part.payloads:
            self._require_payloads(part.shard, turns, received_at_ns)

    def _require_payloads(self, wal: int, turns: int, received_at_ns: int) -> None:
        """Raises Unavailable when payloads that a stored request relies on may be gone by now.

        The client then retries: the payloads, which are no longer remembered, are sent again, and the part is recognised by its digest.
        """
        if self._appender.turns(wal) != turns:
            raise Unavailable(
                f"the WAL of shard {wal_name(wal)} lost entries while this request was stored, perhaps its payloads among them"
            )
        if self._now_ns() - received_at_ns > self._relied_ns // 2:
            raise Unavailable("the request took so long that payloads which it relies on may have been collected meanwhile")

    async def _append_all(self, parts: Sequence[Part], signal: str, tenant: str, received_at_ns: int) -> None:
        """Append all parts concurrently and wait for every one, so that a retry finds as much as possible already stored."""
        appends = (self._append(part, signal, tenant, received_at_ns) for part in parts)
        results = await asyncio.gather(*appends, return_exceptions=True)
        error = next((result for result in results if result is not None), None)
        if error is not None:
            try:
                raise error
            finally:
                del error, results  # the error's traceback holds this frame, and the frame would hold the error and the request
