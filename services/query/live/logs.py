"""Log records as they are appended to the WAL, for live feeds. Pure; see spans."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as WireLogRecord

from services.query.live.frame import Frame
from tael.model.log import LogRecord
from tael.otlp.decode import decode_log, log_id


class LiveRecord:
    """One log record, decoded and rendered at most once, however many watchers it has; it has the attributes of a LogRecord."""

    def __init__(self, wire: WireLogRecord, frame: Frame, received_at_ns: int) -> None:
        self.wire = wire
        self.frame = frame
        self._rendered: dict[Callable[[LogRecord], bytes], bytes] = {}
        self._received_at_ns = received_at_ns

    def __getattr__(self, name: str) -> Any:
        return getattr(self.record, name)

    @property
    def service(self) -> str:
        """See LogRecord."""
        return self.frame.service

    @property
    def trace_id(self) -> bytes:
        """See LogRecord."""
        return log_id(self.wire.trace_id, 16)

    @property
    def span_id(self) -> bytes:
        """See LogRecord."""
        return log_id(self.wire.span_id, 8)

    @cached_property
    def record(self) -> LogRecord:
        """The decoded record, as a reader of the hot tier returns it."""
        return decode_log(self.wire, self.frame.resource, self.frame.scope, self._received_at_ns)

    def rendered(self, render: Callable[[LogRecord], bytes]) -> bytes:
        """``render(record)``, computed once; ``render`` MUST live as long as the process, because results are kept by function."""
        if (made := self._rendered.get(render)) is None:
            made = self._rendered[render] = render(self.record)
        return made


def read_logs(request: bytes, received_at_ns: int) -> list[LiveRecord]:
    """The log records of an admitted request, in order."""
    message = ExportLogsServiceRequest.FromString(request)
    return [
        LiveRecord(record, frame, received_at_ns)
        for group in message.resource_logs
        for scoped in group.scope_logs
        for frame in (Frame(group, scoped),)
        for record in scoped.log_records
    ]
