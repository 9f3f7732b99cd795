"""Log streams: Loki's name for the records with the same index labels. These are the labels that its OTLP endpoint makes by default, and
all labels of a stream that came by its push.

Source of the list: Loki's documentation, "Ingesting logs to Loki using OpenTelemetry Collector" (default resource attributes as index
labels).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tael.model.attributes import Attributes
from tael.model.series import Labels
from tael.model.span import UNKNOWN_SERVICE

_ATTRIBUTES = (
    "cloud.availability_zone",
    "cloud.region",
    "container.name",
    "deployment.environment",
    "deployment.environment.name",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.cronjob.name",
    "k8s.daemonset.name",
    "k8s.deployment.name",
    "k8s.job.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.replicaset.name",
    "k8s.statefulset.name",
    "service.instance.id",
    "service.name",
    "service.namespace",
)
INDEX_LABELS: Final[dict[str, str]] = dict(sorted((name.replace(".", "_"), name) for name in _ATTRIBUTES))
"""The resource attribute behind each index label, by label in order. Only strings count; a stream always has ``service_name``."""

PUSHED_SCOPE: Final = "loki"
"""The scope of records that were pushed to Loki's API: all attributes of their resource are labels of their stream."""

_LABELS: Final = {name: label for label, name in INDEX_LABELS.items()}
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class LogStream:
    """A stream, with the number of its records and the bytes of their bodies in the queried hours."""

    labels: Labels
    records: int
    bytes: int


def valid_name(text: str) -> str:
    """The text with underscores for characters that a label's name cannot have."""
    return _NOT_IN_NAMES.sub("_", text)


def stream_label(attribute: str) -> str:
    """The label of a stream that has this attribute as one."""
    return _LABELS.get(attribute) or valid_name(attribute)


def stream_labels(resource: Attributes, *, pushed: bool = False) -> Labels:
    """The stream labels of a record with these resource attributes; ``pushed`` to Loki's API, all that are strings are labels."""
    if pushed:
        found = ((stream_label(name), value) for name, value in resource.items())
    else:
        found = ((label, resource.get(name)) for label, name in INDEX_LABELS.items())
    given = {label: value for label, value in found if isinstance(value, str) and value}
    return tuple(sorted(({"service_name": UNKNOWN_SERVICE} | given).items()))
