"""Translates remote write 1.0 (``prometheus.WriteRequest``) to series and samples.

A series with one sample, as senders send it, consists of its labels' bytes and a tail (tael.metrics.tails); it is recognised by the former.
"""

from __future__ import annotations

from functools import partial

from google.protobuf.message import DecodeError

from tael.errors import Rejected
from tael.metrics.cache import Known, SeriesCache
from tael.metrics.remote_write import Received, add_series, checked_labels, known_series, type_word
from tael.metrics.tails import LONG, LONG_MARK, SHORT, Tails, hour_of
from tael.metrics.translation import ANY, Accepts, AdmitSeries, Draft, Translation
from tael.otlp.census import Node, tree
from tael.pb.remote_write_pb2 import ExemplarV1, Metadata, RequestV1, SeriesV1

V1_TREE = Node(fields={0x0A: tree(SeriesV1), 0x1A: Node()})
"""A request's messages, for tael.otlp.census."""


class RemoteWriteV1:
    """Translates requests of version 1.0."""

    def __init__(self, cache: SeriesCache) -> None:
        self._cache = cache

    def translate(self, tenant: str, request: bytes, now_ms: int, admit_series: AdmitSeries, accepts: Accepts = ANY) -> Translation:
        """One request's translation. Raises Rejected when it is not a WriteRequest."""
        try:
            message = RequestV1.FromString(request)
        except DecodeError as error:
            raise Rejected("the body is not a valid prometheus.WriteRequest", where="body", accepted="remote write 1.0") from error
        known = known_series(self._cache, tenant, 1)
        series = list(message.timeseries)
        accepts.require_few(len(series) + len(message.metadata))
        draft = Draft(tenant, now_ms, admit_series, accepts)
        if not _in_bulk(series, known, draft):
            draft = Draft(tenant, now_ms, admit_series, accepts)
            for raw in series:
                _add(raw, known, draft)
        for raw in message.metadata:
            _describe(raw, known, draft)
        return draft.finish()


def _in_bulk(series: list[bytes], known: Known, draft: Draft) -> bool:
    """Add known series in bulk and the others one by one; False when some known ones turn out to be irregular."""
    hour = hour_of(series[0][-_tail_bytes(series[0]) :]) if series else None
    if hour is None:
        return not series
    named, tails = known.at(hour), Tails()
    for raw in series:
        size = _tail_bytes(raw)
        # If the series does not end in a tail, the labels are cut in the wrong place and so are not known: the series is then parsed.
        ids = named.get(raw[:-size])
        if ids is None:
            _add(raw, known, draft)
        else:
            tails.add(raw[-size:], ids)
    return tails.finish(hour, draft)


def _tail_bytes(series: bytes) -> int:
    # The mark is the first three of the 18 bytes of a long tail.
    return LONG if series[-LONG:-15] == LONG_MARK else SHORT


def _key(raw: bytes) -> bytes | None:
    """The labels' bytes, if the series consists only of them and a sample in the common layout; else None."""
    size = _tail_bytes(raw)
    if hour_of(raw[-size:]) is None:
        return None
    head = raw[:-size]
    try:
        labels = SeriesV1(labels=SeriesV1.FromString(head).labels)
    except DecodeError:
        return None
    return head if labels.SerializeToString() == head else None


def _add(raw: bytes, known: Known, draft: Draft) -> None:
    try:
        series = SeriesV1.FromString(raw)
    except DecodeError:
        draft.refuse(draft.items, "it is not valid protobuf with UTF-8 labels", f"series at sample {draft.items}")
        draft.items += 1
        return
    key = _key(raw)
    add_series(
        Received(
            SeriesV1(labels=series.labels).SerializeToString() if key is None else key,
            partial(_labels, series),
            series.samples,
            series.histograms,
            [(partial(_exemplar_labels, exemplar), exemplar.value, exemplar.timestamp) for exemplar in series.exemplars],
        ),
        known,
        draft,
    )


def _labels(series: SeriesV1) -> dict[str, str]:
    return checked_labels((label.name, label.value) for label in series.labels)


def _exemplar_labels(exemplar: ExemplarV1) -> dict[str, str]:
    return {label.name: label.value for label in exemplar.labels}


def _describe(raw: bytes, known: Known, draft: Draft) -> None:
    try:
        found = Metadata.FromString(raw)
    except DecodeError:
        return
    if found.metric_family_name:
        draft.describe(known, found.metric_family_name, type_word(found.type), found.unit, found.help)
