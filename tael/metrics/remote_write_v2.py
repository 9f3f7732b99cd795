"""Remote write 2.0 (``io.prometheus.write.v2.Request``) as series and samples: strings are references into the request's symbols."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from google.protobuf.message import DecodeError

from tael.errors import Rejected
from tael.metrics.cache import Known, SeriesCache
from tael.metrics.identity import HOUR_MS
from tael.metrics.remote_write import Received, add_series, checked_labels, family_of, known_series, type_word
from tael.metrics.translation import AdmitSeries, Draft, Refused, Translation
from tael.model.series import METRIC_NAME
from tael.pb.remote_write_pb2 import RequestV2, SeriesV2


class RemoteWriteV2:
    """Translates requests of version 2.0."""

    def __init__(self, cache: SeriesCache) -> None:
        self._cache = cache

    def translate(self, tenant: str, request: bytes, now_ms: int, admit_series: AdmitSeries) -> Translation:
        """One request's translation. Raises Rejected when it is not a Request of version 2.0."""
        try:
            message = RequestV2.FromString(request)
        except DecodeError as error:
            reason = "the body is not a valid io.prometheus.write.v2.Request"
            raise Rejected(reason, where="body", accepted="remote write 2.0") from error
        symbols = list(message.symbols)
        if symbols and symbols[0]:
            raise Rejected("the first symbol is not empty", where="symbols", accepted="a table that begins with the empty string")
        known, draft = known_series(self._cache, tenant, 2), Draft(tenant, now_ms, admit_series)
        for series in message.timeseries:
            if not _add_known(series, symbols, known, draft):
                _add(series, symbols, known, draft)
        return draft.finish()


def _add_known(series: SeriesV2, symbols: list[bytes], known: Known, draft: Draft) -> bool:
    """Take in a known series with one sample; False for any other."""
    if len(series.samples) != 1 or series.histograms or series.exemplars:
        return False
    [sample] = series.samples
    time_ms = sample.timestamp
    try:
        ids = known.at(time_ms - time_ms % HOUR_MS).get(_key(series.labels_refs, symbols))
    except Refused:
        return False
    if ids is None:
        return False
    draft.items += 1
    draft.samples.add(ids, time_ms, (sample.value,))
    return True


def _key(refs: Sequence[int], symbols: list[bytes]) -> tuple[bytes, ...]:
    try:
        return tuple(map(symbols.__getitem__, refs))
    except IndexError:
        raise Refused(f"a label refers to symbol {max(refs)} and there are {len(symbols)}") from None


def _add(series: SeriesV2, symbols: list[bytes], known: Known, draft: Draft) -> None:
    try:
        key = _key(series.labels_refs, symbols)
    except Refused as refused:
        for _ in range(max(1, len(series.samples) + len(series.histograms))):
            draft.refuse(draft.items, str(refused), f"sample {draft.items}")
            draft.items += 1
        return
    received = Received(
        key,
        partial(_labels, key),
        series.samples,
        series.histograms,
        [(partial(_exemplar_labels, exemplar.labels_refs, symbols), exemplar.value, exemplar.timestamp) for exemplar in series.exemplars],
    )
    add_series(received, known, draft)
    if series.HasField("metadata"):
        _describe(series, received, symbols, known, draft)


def _texts(refs: Sequence[bytes]) -> list[str]:
    try:
        return [symbol.decode() for symbol in refs]
    except UnicodeDecodeError:
        raise Refused("a label is not valid UTF-8") from None


def _labels(key: Sequence[bytes]) -> dict[str, str]:
    texts = _texts(key)
    if len(texts) % 2:
        raise Refused("a label has a name and no value")
    return checked_labels(zip(texts[::2], texts[1::2], strict=True))


def _exemplar_labels(refs: Sequence[int], symbols: list[bytes]) -> dict[str, str]:
    texts = _texts(_key(refs, symbols))
    if len(texts) % 2:
        raise Refused("an exemplar's label has a name and no value")
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _describe(series: SeriesV2, received: Received, symbols: list[bytes], known: Known, draft: Draft) -> None:
    """Metadata comes with each series; what cannot be read of it costs nothing else."""
    metadata = series.metadata
    kind = type_word(metadata.type)
    try:
        name = received.labels()[METRIC_NAME]
        unit, text = _texts(_key((metadata.unit_ref, metadata.help_ref), symbols))
    except Refused:
        return
    if kind != "unknown" or unit or text:
        draft.describe(known, family_of(name, kind), kind, unit, text)
