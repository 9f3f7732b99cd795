"""Remote write 1.0 (``prometheus.WriteRequest``) as series and samples.

A series with one sample, which is what senders send, is its labels' bytes and a tail of fixed length; the labels are recognised by their
bytes and the tails decoded together. Protobuf messages concatenate, so labels that parsed before and a tail that is checked are a valid series:

    12 10 09 <value, 8 bytes> 10 <ms, 6 bytes of varint>        18 bytes
    12 07 10 <ms, 6 bytes of varint>                             9 bytes, the value is 0
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from tael.errors import Rejected
from tael.metrics.cache import Ids, Known, SeriesCache
from tael.metrics.identity import HOUR_MS, MAX_TIME_MS
from tael.metrics.remote_write import Received, add_series, checked_labels, known_series, type_word
from tael.metrics.translation import AdmitSeries, Draft, Translation, columns
from tael.pb.remote_write_pb2 import ExemplarV1, Metadata, RequestV1, SeriesV1

_LONG, _SHORT = 18, 9
_LONG_MARK = b"\x12\x10\x09"
_TAILS = {
    _LONG: np.dtype([("mark", "S3"), ("value", "<f8"), ("time_tag", "u1"), ("time", "u1", 6)]),
    _SHORT: np.dtype([("mark", "S2"), ("time_tag", "u1"), ("time", "u1", 6)]),
}
_MARKS = {_LONG: _LONG_MARK, _SHORT: b"\x12\x07"}
_SHIFTS = np.arange(0, 42, 7, dtype=np.int64)


class RemoteWriteV1:
    """Translates requests of version 1.0."""

    def __init__(self, cache: SeriesCache) -> None:
        self._cache = cache

    def translate(self, tenant: str, request: bytes, now_ms: int, admit_series: AdmitSeries) -> Translation:
        """One request's translation. Raises Rejected when it is not a WriteRequest."""
        try:
            message = RequestV1.FromString(request)
        except DecodeError as error:
            raise Rejected("the body is not a valid prometheus.WriteRequest", where="body", accepted="remote write 1.0") from error
        known = known_series(self._cache, tenant, 1)
        series = list(message.timeseries)
        draft = Draft(tenant, now_ms, admit_series)
        if not _Bulk(known, draft).run(series):
            draft = Draft(tenant, now_ms, admit_series)
            for raw in series:
                _add(raw, known, draft)
        for raw in message.metadata:
            _describe(raw, known, draft)
        return draft.finish()


@dataclass(slots=True)
class _Bulk:
    known: Known
    draft: Draft
    tails: dict[int, list[bytes]] = field(default_factory=lambda: {_LONG: [], _SHORT: []})
    ids: dict[int, list[Ids]] = field(default_factory=lambda: {_LONG: [], _SHORT: []})

    def run(self, series: list[bytes]) -> bool:
        """Take in series that are known by their labels' bytes, the others one by one; False when some turn out to be irregular."""
        if not series:
            return True
        first = _decode([series[0][-_tail_bytes(series[0]) :]], _tail_bytes(series[0]))
        if first is None:
            return False
        hour = int(first[0][0]) // HOUR_MS * HOUR_MS
        named = self.known.at(hour)
        for raw in series:
            size = _LONG if raw[-_LONG:-15] == _LONG_MARK else _SHORT
            ids = named.get(raw[:-size])
            if ids is None:
                _add(raw, self.known, self.draft)
            else:
                self.ids[size].append(ids)
                self.tails[size].append(raw[-size:])
        return all(self._take(size, hour) for size in (_LONG, _SHORT))

    def _take(self, size: int, hour: int) -> bool:
        if not self.tails[size]:
            return True
        decoded = _decode(self.tails[size], size)
        if decoded is None:
            return False
        time_ms, value = decoded
        if not (hour <= time_ms.min() and time_ms.max() < min(hour + HOUR_MS, MAX_TIME_MS)):
            return False
        self.draft.samples.chunks.append(columns(b"".join(self.ids[size]), time_ms, value))
        self.draft.items += len(time_ms)
        return True


def _tail_bytes(series: bytes) -> int:
    return _LONG if series[-_LONG:-15] == _LONG_MARK else _SHORT


def _decode(tails: list[bytes], size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]] | None:
    joined = b"".join(tails)
    if len(joined) != size * len(tails):
        return None
    rows = np.frombuffer(joined, _TAILS[size])
    digits = rows["time"]
    regular = (rows["mark"] == _MARKS[size]) & (rows["time_tag"] == 0x10) & (digits[:, :5] >= 0x80).all(axis=1) & (digits[:, 5] < 0x80)
    if not regular.all():
        return None
    time_ms = ((digits & 0x7F).astype(np.int64) << _SHIFTS).sum(axis=1)
    return time_ms, rows["value"].copy() if size == _LONG else np.zeros(len(rows))


def _key(raw: bytes) -> bytes | None:
    """The bytes of the labels, when nothing but them and a sample of the common layout is there."""
    size = _tail_bytes(raw)
    if _decode([raw[-size:]], size) is None:
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
