"""Translates remote write 2.0 (``io.prometheus.write.v2.Request``), where strings are references into the request's symbols.

A series in the common layout consists of its references, a tail (tael.metrics.tails) and perhaps metadata:

    0a LL <references>   12 …   2a …

References differ between requests, so a series is recognised by the numbers of the strings they refer to (tael.metrics.symbols).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from tael.errors import Rejected
from tael.metrics.cache import Known, SeriesCache
from tael.metrics.remote_write import Received, add_series, checked_labels, family_of, known_series, type_word
from tael.metrics.symbols import Symbols, read_references
from tael.metrics.tails import LONG, LONG_MARK, SHORT, Tails, hour_of
from tael.metrics.translation import ANY, Accepts, AdmitSeries, Draft, Refused, Translation
from tael.model.series import METRIC_NAME
from tael.otlp.census import Node, tree
from tael.pb.remote_write_pb2 import RequestV2, SeriesV2

V2_TREE = Node(fields={0x22: Node(), 0x2A: tree(SeriesV2)})
"""A request's messages, for tael.otlp.census."""


class RemoteWriteV2:
    """Translates requests of version 2.0."""

    def __init__(self, cache: SeriesCache) -> None:
        self._cache = cache

    def translate(self, tenant: str, request: bytes, now_ms: int, admit_series: AdmitSeries, accepts: Accepts = ANY) -> Translation:
        """One request's translation. Raises Rejected when it is not a Request of version 2.0."""
        try:
            message = RequestV2.FromString(request)
        except DecodeError as error:
            reason = "the body is not a valid io.prometheus.write.v2.Request"
            raise Rejected(reason, where="body", accepted="remote write 2.0") from error
        symbols, series = list(message.symbols), list(message.timeseries)
        accepts.require_few(len(symbols) + len(series))
        if symbols and symbols[0]:
            raise Rejected("the first symbol is not empty", where="symbols", accepted="a table that begins with the empty string")
        known = known_series(self._cache, tenant, 2)
        table = _Table(symbols, self._numbers(known, symbols))
        draft = Draft(tenant, now_ms, admit_series, accepts)
        if not _in_bulk(series, table, known, draft):
            draft = Draft(tenant, now_ms, admit_series, accepts)
            for raw in series:
                _add(raw, table, known, draft)
        return draft.finish()

    def _numbers(self, known: Known, symbols: Sequence[bytes]) -> npt.NDArray[np.uint64]:
        numbering: Symbols | None = known.group.contexts.get(Symbols)
        if numbering is None:
            numbering = known.group.contexts[Symbols] = Symbols(self._cache, known.group)
        return numbering.numbers(symbols)


@dataclass(frozen=True, slots=True)
class _Table:
    """A request's symbols as bytes, and the number of each."""

    symbols: Sequence[bytes]
    numbers: npt.NDArray[np.uint64]

    def key(self, references: Sequence[int]) -> bytes:
        """The key by which a series with these references is recognised. Raises Refused for a reference beyond the table."""
        if references and max(references) >= len(self.symbols):
            raise Refused(f"a label refers to symbol {max(references)} and there are {len(self.symbols)}")
        return self.numbers[list(references)].tobytes()

    def texts(self, references: Iterable[int]) -> list[str]:
        """The referenced strings. Raises Refused for a reference beyond the table, and for invalid UTF-8."""
        try:
            return [self.symbols[at].decode() for at in references]
        except IndexError:
            raise Refused(f"a reference is beyond the {len(self.symbols)} symbols") from None
        except UnicodeDecodeError:
            raise Refused("a label is not valid UTF-8") from None

    def pairs(self, references: Sequence[int]) -> list[tuple[str, str]]:
        """The referenced names and values. Raises Refused as ``texts`` does, and for a name without a value."""
        texts = self.texts(references)
        if len(texts) % 2:
            raise Refused("a label has a name and no value")
        return list(zip(texts[::2], texts[1::2], strict=True))


def _in_bulk(series: list[bytes], table: _Table, known: Known, draft: Draft) -> bool:
    """Add known series in bulk and the others one by one; False when some known ones turn out to be irregular."""
    cut = [_cut(raw) for raw in series]
    regular = [parts for parts in cut if parts is not None]
    hour = hour_of(regular[0][1]) if regular else None
    references = read_references([packed for packed, _, _ in regular]) if regular else None
    if hour is None or references is None or references[0].max() >= len(table.symbols):
        return not series
    keys, borders = table.numbers[references[0]].tobytes(), references[1]
    # Senders repeat a few kinds of metadata, so each distinct rest is parsed once per request.
    named, tails, start, checked = known.at(hour), Tails(), 0, {b""}
    ends = iter(borders)
    for raw, parts in zip(series, cut, strict=True):
        ids = None
        if parts is not None:
            end = next(ends) * 8
            ids = named.get(keys[start:end])
            start = end
        if ids is None or parts is None:
            _add(raw, table, known, draft)
            continue
        rest = parts[2]
        if rest not in checked:
            if not _is_metadata(rest):
                return False
            checked.add(rest)
        tails.add(parts[1], ids)
    return tails.finish(hour, draft)


def _cut(raw: bytes) -> tuple[bytes, bytes, bytes] | None:
    """References, tail and rest of a series that seems to have the common layout, judged by a few of its bytes; else None."""
    # Only lengths of one byte: common label sets have up to 127 bytes of references.
    if raw[:1] != b"\x0a" or len(raw) < 2 + SHORT or not 0 < raw[1] < 0x80:
        return None
    at = 2 + raw[1]
    size = LONG if raw[at : at + 3] == LONG_MARK else SHORT
    tail = raw[at : at + size]
    return (raw[2:at], tail, raw[at + size :]) if len(tail) == size else None


def _is_metadata(rest: bytes) -> bool:
    try:
        parsed = SeriesV2.FromString(rest)
    except DecodeError:
        return False
    return not (parsed.labels_refs or parsed.samples or parsed.histograms or parsed.exemplars)


def _add(raw: bytes, table: _Table, known: Known, draft: Draft) -> None:
    try:
        series = SeriesV2.FromString(raw)
    except DecodeError:
        draft.refuse(draft.items, "it is not valid protobuf", f"series at sample {draft.items}")
        draft.items += 1
        return
    references = list(series.labels_refs)
    try:
        key = table.key(references)
    except Refused as refused:
        # A series without samples counts as one item, so that its refusal is reported.
        for _ in range(max(1, len(series.samples) + len(series.histograms))):
            draft.refuse(draft.items, str(refused), f"sample {draft.items}")
            draft.items += 1
        return
    received = Received(
        key,
        lambda: checked_labels(table.pairs(references)),
        series.samples,
        series.histograms,
        [
            (partial(_exemplar_labels, list(exemplar.labels_refs), table), exemplar.value, exemplar.timestamp)
            for exemplar in series.exemplars
        ],
    )
    add_series(received, known, draft)
    if series.HasField("metadata"):
        _describe(series, received, table, known, draft)


def _exemplar_labels(references: Sequence[int], table: _Table) -> dict[str, str]:
    return dict(table.pairs(references))


def _describe(series: SeriesV2, received: Received, table: _Table, known: Known, draft: Draft) -> None:
    """Add the metadata of a series; invalid metadata is ignored."""
    metadata = series.metadata
    kind = type_word(metadata.type)
    try:
        name = received.labels()[METRIC_NAME]
        unit, text = table.texts((metadata.unit_ref, metadata.help_ref))
    except Refused:
        return
    if kind != "unknown" or unit or text:
        draft.describe(known, family_of(name, kind), kind, unit, text)
