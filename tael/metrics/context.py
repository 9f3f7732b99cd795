"""The context that the points of one OTLP metric share: its name, the labels of its resource and scope, and its known series."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tael.metrics.cache import Group, Known, SeriesCache
from tael.metrics.labels import labels_from, text_of
from tael.metrics.names import Kind, Names
from tael.model.attributes import Attributes
from tael.model.series import METRIC_NAME, TARGET_INFO
from tael.otlp.anyvalue import decode_attributes
from tael.pb.metrics_request_pb2 import Metric, ResourceMetrics, ScopeMetrics

DELTA, CUMULATIVE = 1, 2
_IDENTIFYING = frozenset(("service.name", "service.namespace", "service.instance.id"))
_KINDS: dict[str, Kind] = {
    "gauge": "gauge",
    "sum": "counter",
    "histogram": "histogram",
    "exponential_histogram": "histogram",
    "summary": "summary",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A resource: the labels of each of its series, and those of its ``target_info``, empty if it needs none."""

    labels: dict[str, str]
    info: dict[str, str]
    known: Known
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """A metric with its resource and scope. ``problem`` says why none of its points can be stored; empty if they can."""

    name: str
    kind: Kind
    member: str
    delta: bool
    unit: str
    target: Target
    scope_labels: dict[str, str]
    known: Known
    names: Names
    problem: str = ""

    def labels(self, attributes: Attributes, suffix: str = "", **more: str) -> dict[str, str]:
        """A series' labels: the point's attributes, overridden by the labels of scope, resource and metric. Raises ValueError."""
        own = labels_from(attributes, self.names)
        return {**own, **self.scope_labels, **self.target.labels, **more, METRIC_NAME: self.name + suffix}


@dataclass(slots=True)
class Contexts:
    """Finds or creates the contexts of a request's metrics, which are kept in the cache."""

    cache: SeriesCache
    names: Names
    promoted: tuple[str, ...] = ()

    def target(self, tenant: str, resource: ResourceMetrics) -> tuple[Group, Target]:
        """The resource's group and target. Raises google.protobuf's DecodeError."""
        group = self.cache.group((tenant, resource.resource))
        found = group.contexts.get(None)
        if found is None:
            found = group.contexts[None] = self._make_target(decode_attributes(Resource.FromString(resource.resource).attributes), group)
        return group, found

    def _make_target(self, attributes: Attributes, group: Group) -> Target:
        name, namespace = text_of(attributes.get("service.name")), text_of(attributes.get("service.namespace"))
        identity = {
            "job": f"{namespace}/{name}" if namespace and name else name,
            "instance": text_of(attributes.get("service.instance.id")),
        }
        identity = {label: value for label, value in identity.items() if value}
        try:
            promoted = labels_from({key: attributes[key] for key in self.promoted if key in attributes}, self.names)
            others = labels_from({key: value for key, value in attributes.items() if key not in _IDENTIFYING}, self.names)
        except ValueError as error:
            return Target({}, {}, Known(group), f"resource {error}")
        # Without job or instance no join would find it, and without other attributes it would add nothing.
        info = {**others, **identity, METRIC_NAME: TARGET_INFO} if others and identity else {}
        return Target({**promoted, **identity}, info, Known(group))

    def context(self, group: Group, target: Target, scope: ScopeMetrics, metric: Metric) -> Context:
        """The metric's context. Raises google.protobuf's DecodeError."""
        member = metric.WhichOneof("data") or ""
        points = getattr(metric, member) if member else None
        temporality, monotonic = (points.aggregation_temporality, points.is_monotonic) if points is not None else (0, False)
        # Everything that determines the series' names and how values are interpreted; a description does neither.
        key = (scope.scope, scope.schema_url, metric.name, metric.unit, member, temporality, monotonic)
        found: Context | None = group.contexts.get(key)
        if found is None:
            found = group.contexts[key] = self._make_context(group, target, scope, metric, member, temporality, monotonic=monotonic)
            self.cache.context_added(group)
        return found

    def _make_context(
        self, group: Group, target: Target, scope: ScopeMetrics, metric: Metric, member: str, temporality: int, *, monotonic: bool
    ) -> Context:
        kind = _KINDS.get(member, "gauge") if member != "sum" or monotonic else "gauge"
        name = self.names.metric(metric.name, metric.unit, kind)
        problem = target.problem
        try:
            scope_labels = _scope_labels(scope, self.names)
        except ValueError as error:
            scope_labels, problem = {}, f"scope {error}"
        if not member:
            problem = "the metric has no data of a known kind"
        elif not metric.name:
            problem = "the metric has no name"
        elif not name:
            problem = f"nothing of the metric's name {metric.name[:60]!r} can be kept"
        elif member not in ("gauge", "summary") and temporality not in (DELTA, CUMULATIVE):
            problem = f"aggregation temporality {temporality} is neither delta (1) nor cumulative (2)"
        delta = temporality == DELTA and member not in ("gauge", "summary")
        return Context(name, kind, member, delta, self.names.unit(metric.unit), target, scope_labels, Known(group), self.names, problem)


def _scope_labels(scope: ScopeMetrics, names: Names) -> dict[str, str]:
    parsed = InstrumentationScope.FromString(scope.scope)
    fixed = {"otel_scope_name": parsed.name, "otel_scope_version": parsed.version, "otel_scope_schema_url": scope.schema_url}
    attributes = labels_from(decode_attributes(parsed.attributes), names, prefix="otel_scope_")
    return {**attributes, **{name: value for name, value in fixed.items() if value}}
