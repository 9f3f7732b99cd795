"""Converts OTLP's exemplars to Prometheus': trace and span ids become labels, and so do filtered attributes if they are short."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar as WireExemplar

from tael.metrics.cache import Ids
from tael.metrics.identity import MAX_TIME_MS
from tael.metrics.labels import labels_from
from tael.metrics.names import Names
from tael.metrics.translation import unpack
from tael.otlp.anyvalue import decode_attributes
from tael.pb.metrics_pb2 import Exemplar

MAX_LABEL_CHARACTERS = 128
"""The limit of an exemplar's labels, names and values together (OpenMetrics, "Exemplars")."""
_NS_PER_MS = 1_000_000


def read_exemplars(encoded: Iterable[bytes], series_of: Callable[[float], Ids], names: Names, point_ms: int) -> list[Exemplar]:
    """A point's exemplars; those without a time get the point's. ``series_of`` returns the series of a value. Raises DecodeError."""
    found: list[Exemplar] = []
    for exemplar in [WireExemplar.FromString(raw) for raw in encoded]:
        member = exemplar.WhichOneof("value")
        if member is None:
            continue
        value, time_ms = float(getattr(exemplar, member)), exemplar.time_unix_nano // _NS_PER_MS
        [(metric, series)] = unpack(series_of(value))
        labels = _labels(exemplar, names)
        found.append(
            Exemplar(
                metric=metric,
                series=series,
                time_ms=time_ms if 0 < time_ms < MAX_TIME_MS else point_ms,
                value=value,
                label_names=list(labels),
                label_values=list(labels.values()),
                trace_id=exemplar.trace_id if len(exemplar.trace_id) == 16 else b"",
            )
        )
    return found


def _labels(exemplar: WireExemplar, names: Names) -> dict[str, str]:
    ids = {"trace_id": exemplar.trace_id, "span_id": exemplar.span_id}
    own = {name: value.hex() for name, value in ids.items() if any(value)}
    try:
        more = labels_from(decode_attributes(exemplar.filtered_attributes), names)
    except ValueError:
        return own
    whole = dict(sorted({**more, **own}.items()))
    return whole if sum(len(name) + len(value) for name, value in whole.items()) <= MAX_LABEL_CHARACTERS else own
