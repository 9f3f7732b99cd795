"""Schemas of the answers of Loki, Tempo and Jaeger, as Grafana's data sources read them: strict in types, and in which fields there are.

Sources: Loki's, Tempo's and Jaeger's HTTP APIs, `prometheus` and `tempopb` messages as JSON. Integers of 64 bits are strings in the JSON of
protobuf messages, which is all of Tempo's and Jaeger's third version.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Labels = dict[str, str]
Nanoseconds = Annotated[str, Field(pattern=r"^\d{18,19}$")]
Integer64 = Annotated[str, Field(pattern=r"^-?\d+$")]
TraceId = Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}$")]
SpanId = Annotated[str, Field(pattern=r"^[0-9a-f]{1,16}$")]
Sample = tuple[int | float, str]


class Shape(BaseModel):
    """An object with just these fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Shape):
    structuredMetadata: Labels = Field(default_factory=dict)
    parsed: Labels = Field(default_factory=dict)


class Stream(Shape):
    stream: Labels
    values: list[tuple[Nanoseconds, str]]


class CategorizedStream(Shape):
    stream: Labels
    values: list[tuple[Nanoseconds, str, Metadata]]


class Series(Shape):
    metric: Labels
    values: list[Sample]


class Instant(Shape):
    metric: Labels
    value: Sample


class Streams(Shape):
    resultType: Literal["streams"]
    result: list[Stream]
    stats: dict[str, Any]


class CategorizedStreams(Shape):
    resultType: Literal["streams"]
    encodingFlags: list[Literal["categorize-labels"]]
    result: list[CategorizedStream]
    stats: dict[str, Any]


class Matrix(Shape):
    resultType: Literal["matrix"]
    result: list[Series]
    stats: dict[str, Any]


class Instants(Shape):
    resultType: Literal["vector"]
    result: list[Instant]
    stats: dict[str, Any]


class Scalar(Shape):
    resultType: Literal["scalar"]
    result: Sample
    stats: dict[str, Any]


class Pattern(Shape):
    pattern: str
    level: str = ""
    samples: list[tuple[int, int]]


class Lines(Shape):
    status: Literal["success"]
    data: Streams


class CategorizedLines(Shape):
    status: Literal["success"]
    data: CategorizedStreams


class Range(Shape):
    status: Literal["success"]
    data: Matrix


class Moment(Shape):
    status: Literal["success"]
    data: Instants


class Number(Shape):
    status: Literal["success"]
    data: Scalar


class Texts(Shape):
    status: Literal["success"]
    data: list[str]


class LabelSets(Shape):
    status: Literal["success"]
    data: list[Labels]


class Formatted(Shape):
    status: Literal["success"]
    data: str


class Patterns(Shape):
    status: Literal["success"]
    data: list[Pattern]


class IndexStats(Shape):
    streams: int
    chunks: int
    bytes: int
    entries: int


class DetectedLabel(Shape):
    label: str
    cardinality: int


class DetectedLabels(Shape):
    detectedLabels: list[DetectedLabel]


class DetectedField(Shape):
    label: str
    type: Literal["string", "int", "float", "boolean", "duration", "bytes"]
    cardinality: int
    parsers: list[Literal["json", "logfmt"]] | None
    jsonPath: list[str] = Field(default_factory=list)


class DetectedFields(Shape):
    fields: list[DetectedField]
    limit: int


class DetectedValues(Shape):
    values: list[str]
    limit: int


class AnyValue(Shape):
    """One of its fields."""

    stringValue: str | None = None
    intValue: Integer64 | None = None
    doubleValue: int | float | str | None = None
    boolValue: bool | None = None
    bytesValue: str | None = None
    arrayValue: dict[str, Any] | None = None
    kvlistValue: dict[str, Any] | None = None


class KeyValue(Shape):
    key: str
    value: AnyValue


class FoundSpan(Shape):
    spanID: SpanId
    name: str = ""
    startTimeUnixNano: Nanoseconds
    durationNanos: Integer64
    attributes: list[KeyValue] = Field(default_factory=list)


class SpanSet(Shape):
    spans: list[FoundSpan]
    matched: int
    attributes: list[KeyValue] = Field(default_factory=list)


class ServiceStats(Shape):
    spanCount: int
    errorCount: int = 0


class FoundTrace(Shape):
    traceID: TraceId
    rootServiceName: str = ""
    rootTraceName: str = ""
    startTimeUnixNano: Nanoseconds
    durationMs: int = 0
    spanSet: SpanSet | None = None
    spanSets: list[SpanSet] | None = None
    serviceStats: dict[str, ServiceStats] = Field(default_factory=dict)


class Metrics(Shape):
    """What an answer cost; fields that are zero are left out."""

    inspectedTraces: int = 0
    inspectedBytes: Integer64 = "0"
    inspectedSpans: Integer64 = "0"
    completedJobs: int = 0
    totalJobs: int = 0
    totalBlocks: int = 0
    totalBlockBytes: Integer64 = "0"


class Search(Shape):
    traces: list[FoundTrace]
    metrics: Metrics


class TagNames(Shape):
    tagNames: list[str]
    metrics: Metrics


class Scope(Shape):
    name: Literal["resource", "span", "event", "link", "instrumentation", "intrinsic"]
    tags: list[str]


class Scopes(Shape):
    scopes: list[Scope]
    metrics: Metrics


class TagValues(Shape):
    tagValues: list[str]
    metrics: Metrics


class TypedValue(Shape):
    type: Literal["string", "int", "float", "bool", "duration", "keyword"]
    value: str = ""


class TypedValues(Shape):
    tagValues: list[TypedValue]
    metrics: Metrics


class MetricSample(Shape):
    timestampMs: Integer64
    value: int | float = 0


class Exemplar(Shape):
    labels: list[KeyValue]
    value: int | float = 0
    timestampMs: Integer64


class MetricSeries(Shape):
    labels: list[KeyValue]
    samples: list[MetricSample]
    exemplars: list[Exemplar] = Field(default_factory=list)
    promLabels: str = ""


class MetricRange(Shape):
    series: list[MetricSeries]
    metrics: Metrics


class MetricValue(Shape):
    labels: list[KeyValue]
    value: int | float = 0
    promLabels: str = ""


class MetricInstant(Shape):
    series: list[MetricValue]
    metrics: Metrics


class Reference(Shape):
    refType: Literal["CHILD_OF", "FOLLOWS_FROM"]
    traceID: TraceId
    spanID: SpanId


class Tag(Shape):
    key: str
    type: Literal["string", "bool", "int64", "float64", "binary"]
    value: str | bool | int | float


class Log(Shape):
    timestamp: int
    fields: list[Tag]


class JaegerSpan(Shape):
    traceID: TraceId
    spanID: SpanId
    operationName: str
    references: list[Reference]
    startTime: int
    duration: int
    tags: list[Tag]
    logs: list[Log]
    processID: str
    warnings: list[str] | None


class Process(Shape):
    serviceName: str
    tags: list[Tag]


class JaegerTrace(Shape):
    traceID: TraceId
    spans: list[JaegerSpan]
    processes: dict[str, Process]
    warnings: list[str] | None


class Page(Shape):
    total: int
    limit: int
    offset: int
    errors: None


class JaegerTexts(Page):
    data: list[str]


class Operation(Shape):
    name: str
    spanKind: str


class Operations(Page):
    data: list[Operation]


class JaegerTraces(Page):
    data: list[JaegerTrace]


class Dependency(Shape):
    parent: str
    child: str
    callCount: int


class Dependencies(Page):
    data: list[Dependency]


class ServicesV3(Shape):
    services: list[str]


class OperationsV3(Shape):
    operations: list[Operation]
