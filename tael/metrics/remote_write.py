"""What remote write 1.0 and 2.0 share: checking label sets, exemplars, metadata, and adding series one by one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from tael.metrics.cache import Ids, Known, SeriesCache
from tael.metrics.exemplars import MAX_LABEL_CHARACTERS
from tael.metrics.native import native_histogram
from tael.metrics.translation import Draft, Refused, unpack
from tael.model.series import METRIC_NAME
from tael.pb import remote_write_pb2 as wire
from tael.pb.metrics_pb2 import Exemplar

TYPES = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")
_SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "gaugehistogram": ("_bucket", "_gcount", "_gsum"), "summary": ("_count", "_sum")}


def known_series(cache: SeriesCache, tenant: str, version: int) -> Known:
    """The known series of the tenant's senders of a protocol version."""
    group = cache.group((tenant, version))
    found: Known | None = group.contexts.get(None)
    if found is None:
        found = group.contexts[None] = Known(group)
    return found


def checked_labels(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The labels as a dict, without empty ones. Raises Refused for an invalid label set."""
    labels: dict[str, str] = {}
    for name, value in pairs:
        if not name:
            raise Refused("a label has no name")
        if name in labels:
            raise Refused(f"label {name[:60]!r} comes twice")
        labels[name] = value
    # Empty labels, which to Prometheus are none, are dropped only below: a repeated name is refused even if one of its values is empty.
    if not labels.get(METRIC_NAME):
        raise Refused(f"missing label {METRIC_NAME}")
    return {name: value for name, value in labels.items() if value}


def type_word(number: int) -> str:
    """Prometheus' name of a metric type's number; "unknown" for other numbers."""
    return TYPES[number] if 0 <= number < len(TYPES) else TYPES[0]


def family_of(name: str, kind: str) -> str:
    """The name of the metric family that a series belongs to."""
    for suffix in _SUFFIXES.get(kind, ()):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


@dataclass(frozen=True, slots=True)
class Received:
    """One series of a request; its labels and its exemplars' labels are resolved only when needed."""

    key: Hashable
    labels: Callable[[], dict[str, str]]
    samples: Sequence[wire.Sample]
    histograms: Sequence[wire.Histogram]
    exemplars: Sequence[tuple[Callable[[], dict[str, str]], float, int]]


def add_series(received: Received, known: Known, draft: Draft) -> None:
    """Add a series to the draft; samples that cannot be stored are refused there."""
    first = draft.items
    # Counted before anything is refused: the next series' positions must not depend on this one's refusals.
    draft.items += len(received.samples) + len(received.histograms)
    draft.accepts.require_few(draft.items + len(received.exemplars))
    position = first
    for sample in received.samples:
        _refusing(draft, position, received, partial(_add_sample, sample, received, known, draft))
        position += 1
    for histogram in received.histograms:
        _refusing(draft, position, received, partial(_add_histogram, histogram, received, known, draft))
        position += 1
    for labels, value, time_ms in received.exemplars:
        try:
            ids = draft.identify(known, draft.time_ms(time_ms, least=0), received.key, lambda: [received.labels()])
            add_exemplar(ids, time_ms, value, labels(), draft)
        except Refused:
            continue  # exemplars are optional: a bad one must not cost the sender its series


def _refusing(draft: Draft, position: int, received: Received, add: Callable[[], None]) -> None:
    try:
        add()
    except Refused as refused:
        draft.refuse(position, str(refused), f"sample {position} of {_shown(received)}")


def _shown(received: Received) -> str:
    try:
        return repr(received.labels().get(METRIC_NAME, "")[:60])
    except Refused:
        return "a series without a usable label set"


def _add_sample(sample: wire.Sample, received: Received, known: Known, draft: Draft) -> None:
    time_ms = draft.time_ms(sample.timestamp, least=0)
    ids = draft.identify(known, time_ms, received.key, lambda: [received.labels()])
    draft.samples.add(ids, time_ms, (sample.value,))


def _add_histogram(histogram: wire.Histogram, received: Received, known: Known, draft: Draft) -> None:
    time_ms = draft.time_ms(histogram.timestamp, least=0)
    ids = draft.identify(known, time_ms, received.key, lambda: [received.labels()])
    draft.histograms.append(native_histogram(ids, time_ms, histogram))


def add_exemplar(ids: Ids, time_ms: int, value: float, labels: dict[str, str], draft: Draft) -> None:
    """Add an exemplar. Raises Refused when its labels are too long."""
    if sum(len(name) + len(text) for name, text in labels.items()) > MAX_LABEL_CHARACTERS:
        raise Refused(f"an exemplar's labels have more than {MAX_LABEL_CHARACTERS} characters")
    [(metric, series)] = unpack(ids)
    names = sorted(labels)
    draft.exemplars.append(
        Exemplar(
            metric=metric,
            series=series,
            time_ms=time_ms,
            value=value,
            label_names=names,
            label_values=[labels[name] for name in names],
            trace_id=_trace_id(labels.get("trace_id", "")),
        )
    )


def _trace_id(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return b""
    return raw if len(raw) == 16 else b""
