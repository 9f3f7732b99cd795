"""A ledger of what was acknowledged: the fault tests compare it with what can be read.

Sends spans as a real exporter does: an answer that the OTLP specification calls retryable, or none, is followed by the same bytes
again. Every span is numbered; numbers enter the ledger when their request is answered with OK.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from typing import Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.suite import PATIENCE_SECONDS, Suite, until

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Ledger:
    """Sends numbered spans from threads until stopped; a request without an answer is sent again after ``timeout`` seconds."""

    def __init__(
        self, suite: Suite, *, spans_per_request: int = 20, pause: float = 0.01, service: str = "ledger", timeout: float = 10
    ) -> None:
        self._suite = suite
        self._timeout = timeout
        self._spans = spans_per_request
        self._pause = pause
        self.service = service
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(lane,), daemon=True) for lane in range(4)]
        self._lock = threading.Lock()
        self.acknowledged: set[bytes] = set()
        self.retries: Counter[str] = Counter()
        self.refused: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(200)
            assert not thread.is_alive(), "a sender is still retrying"

    def wait_for(self, more: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until this many more spans are acknowledged."""
        target = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= target, f"{more} more acknowledged spans (retries {self.retries})", seconds)

    def _send(self, lane: int) -> None:
        number = 0
        while not self._stop.wait(self._pause):
            ids = [bytes([lane]) + (number + i).to_bytes(7, "big") for i in range(self._spans)]
            number += self._spans
            body = self._request(ids)
            if self._deliver(body):
                with self._lock:
                    self.acknowledged.update(ids)

    def _deliver(self, body: bytes) -> bool:
        deadline = time.monotonic() + 75
        while time.monotonic() < deadline:
            options = [("grpc.use_local_subchannel_pool", 1)]
            try:
                with grpc.insecure_channel(f"127.0.0.1:{self._suite.grpc_port}", options=options) as channel:
                    channel.unary_unary(METHOD)(body, timeout=self._timeout)
                    return True
            except grpc.RpcError as error:
                self.retries[error.code().name] += 1
                if error.code() not in _RETRYABLE:
                    self.refused.append(f"{error.code()}: {error.details()}")
                    return False
                time.sleep(0.2)
        return False

    def _request(self, ids: list[bytes]) -> bytes:
        message = ExportTraceServiceRequest()
        resource = message.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = self.service
        scope = resource.scope_spans.add()
        now = time.time_ns()
        for span_id in ids:
            scope.spans.add(
                trace_id=hash_of(self.service) + span_id[:7] + bytes([span_id[7] & 0xF0 | 1]),
                span_id=bytes([span_id[0] + 1]) + span_id[1:],
                name="numbered",
                start_time_unix_nano=now,
                end_time_unix_nano=now + 1000,
            )
        return message.SerializeToString()


def hash_of(service: str) -> bytes:
    """Eight bytes that distinguish the ledgers of one suite."""
    return hashlib.blake2b(service.encode(), digest_size=8).digest()


def read_back(suite: Suite, service: str = "ledger") -> Counter[bytes]:
    """The number of times that each numbered span is readable through the query API."""
    seen: Counter[bytes] = Counter()
    cursor = ""
    while True:
        page = suite.get_when_ready(f"/api/v1/traces?service={service}&last=1d&limit=2000" + (f"&cursor={cursor}" if cursor else ""))
        for span in page["spans"]:
            raw = bytes.fromhex(span["span_id"])
            seen[bytes([raw[0] - 1]) + raw[1:]] += 1
        cursor = page["cursor"]
        if not cursor:
            return seen


def assert_exactly_once(suite: Suite, ledger: Ledger, seconds: float = PATIENCE_SECONDS) -> None:
    """Assert that every acknowledged span becomes readable, exactly once."""
    assert not ledger.refused, f"a retryable fault was answered as final: {ledger.refused[:3]}"
    assert ledger.acknowledged, "nothing was acknowledged at all"

    def complete() -> Counter[bytes] | None:
        seen = read_back(suite, ledger.service)
        return seen if ledger.acknowledged <= seen.keys() else None

    seen = until(complete, "every acknowledged span to be readable", seconds, pause=0.5)
    twice = [span_id.hex() for span_id, times in seen.items() if times > 1]
    assert not twice, f"{len(twice)} spans are readable more than once, for example {twice[:5]}"
