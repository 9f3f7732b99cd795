"""Log records on their way into the log, as those who watch ask for them. Pure; see spans."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as WireLogRecord

from services.query.live.frame import Frame
from services.query.live.match import has_attribute
from services.query.parameters import Parameters, parse_span_id, parse_trace_id
from tael.model.attributes import AttributeValue
from tael.model.log import LEVELS, LogRecord
from tael.otlp.decode import decode_log

_WORD = re.compile(r"[a-z0-9\x80-\U0010ffff]+")


class LiveRecord:
    """One log record, decoded and rendered at most once, however many watch."""

    def __init__(self, wire: WireLogRecord, frame: Frame, received_at_ns: int) -> None:
        self.wire = wire
        self.frame = frame
        self._rendered: dict[Callable[[LogRecord], bytes], bytes] = {}
        self._received_at_ns = received_at_ns

    @cached_property
    def record(self) -> LogRecord:
        """As a reader of the hot tier returns it."""
        return decode_log(self.wire, self.frame.resource, self.frame.scope, self._received_at_ns)

    def rendered(self, render: Callable[[LogRecord], bytes]) -> bytes:
        """What ``render``, a function that lives as long as the process, makes of the record; made once."""
        if (made := self._rendered.get(render)) is None:
            made = self._rendered[render] = render(self.record)
        return made

    @cached_property
    def text(self) -> str:
        """What a search in the body looks at, in lower case."""
        return "\n".join(_texts(self.record.body)).lower()

    @cached_property
    def words(self) -> frozenset[str]:
        """The words of the body."""
        return frozenset(_WORD.findall(self.text))


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


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What a watcher asked for; everything that is set must match, each as in LogQuery."""

    service: str = ""
    level: int | None = None
    min_level: int | None = None
    body_contains: str = ""
    words: frozenset[str] = frozenset()
    trace_id: bytes = b""
    span_id: bytes = b""
    attributes: tuple[tuple[str, str], ...] = ()

    def matches(self, item: LiveRecord) -> bool:
        """Whether the watcher wants to see it."""
        wire = item.wire
        if self.service and item.frame.service != self.service:
            return False
        if (self.trace_id and wire.trace_id != self.trace_id) or (self.span_id and wire.span_id != self.span_id):
            return False
        return self._matches_level(item) and self._matches_body(item) and self._matches_attributes(item)

    def _matches_level(self, item: LiveRecord) -> bool:
        return (self.level is None or item.record.level == self.level) and (self.min_level is None or item.record.level >= self.min_level)

    def _matches_body(self, item: LiveRecord) -> bool:
        return (not self.body_contains or self.body_contains in item.text) and (not self.words or self.words <= item.words)

    def _matches_attributes(self, item: LiveRecord) -> bool:
        tables = (item.record.attributes, item.record.resource.attributes) if self.attributes else ()
        return all(has_attribute(tables, key, value) for key, value in self.attributes)


def read_log_filter(pairs: Iterable[tuple[str, str]]) -> LogFilter:
    """The filter that these parameters ask for. Raises Rejected."""
    names = ("service", "severity", "min_severity", "body_contains", "words", "trace_id", "span_id")
    parameters = Parameters(pairs, known=names, repeatable=("attribute",))
    severity, least = parameters.choice("severity", LEVELS), parameters.choice("min_severity", LEVELS)
    trace_id, span_id = parameters.text("trace_id"), parameters.text("span_id")
    return LogFilter(
        service=parameters.text("service"),
        level=LEVELS.index(severity) if severity else None,
        min_level=LEVELS.index(least) if least else None,
        body_contains=parameters.text("body_contains").lower(),
        words=frozenset(_WORD.findall(parameters.text("words").lower())),
        trace_id=parse_trace_id(trace_id) if trace_id else b"",
        span_id=parse_span_id(span_id) if span_id else b"",
        attributes=parameters.key_values("attribute"),
    )


def _texts(body: AttributeValue) -> Iterator[str]:
    """The text of a body: itself, or a number as it is written, or the keys and texts of what it holds."""
    if isinstance(body, str):
        yield body
    elif isinstance(body, bool):
        yield str(body).lower()
    elif isinstance(body, int | float):
        yield str(body)
    elif isinstance(body, bytes):
        yield body.decode(errors="replace")
    elif isinstance(body, Mapping):
        for key, value in body.items():
            yield key
            yield from _nested(value)
    elif isinstance(body, Sequence):
        for value in body:
            yield from _nested(value)


def _nested(value: AttributeValue) -> Iterator[str]:
    """Within a map or an array only texts are searched."""
    return _texts(value) if isinstance(value, str | bytes | Mapping | Sequence) else iter(())
