"""Remote write 1.0 and 2.0 as series: what is stored, what is refused, and that both versions give the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tael.errors import Rejected
from tael.metrics.cache import SeriesCache
from tael.metrics.remote_write_v1 import RemoteWriteV1
from tael.metrics.remote_write_v2 import RemoteWriteV2
from tael.metrics.translation import Translation
from tael.model.series import STALE, STALE_BITS
from tael.pb import remote_write_pb2 as wire
from tests.support.metrics import T0_MS, Decoded, Reader, admit_all, bits, encoded_bodies, labels, refusals

Pairs = Sequence[tuple[str, str]]
UP: Pairs = (("__name__", "up"), ("job", "a"))


@dataclass
class Series:
    """One series of a request of either version."""

    labels: Pairs = UP
    samples: Sequence[tuple[int, float]] = ((T0_MS, 1.0),)
    histograms: Sequence[wire.Histogram] = ()
    exemplars: Sequence[tuple[Pairs, float]] = ()
    metadata: tuple[int, str, str] | None = None


def version_1(series: Sequence[Series]) -> bytes:
    """As prometheus.WriteRequest."""
    message = wire.RequestV1()
    for one in series:
        made = wire.SeriesV1(histograms=one.histograms)
        for name, value in one.labels:
            made.labels.add(name=name, value=value)
        for time_ms, number in one.samples:
            made.samples.add(value=number, timestamp=time_ms)
        for pairs, exact in one.exemplars:
            made.exemplars.add(labels=[wire.Label(name=name, value=text) for name, text in pairs], value=exact, timestamp=T0_MS)
        message.timeseries.append(made.SerializeToString())
        if one.metadata is not None:
            kind, help_text, unit = one.metadata
            family = wire.Metadata(type=kind, metric_family_name=dict(one.labels)["__name__"], help=help_text, unit=unit)
            message.metadata.append(family.SerializeToString())
    return message.SerializeToString()


def version_2(series: Sequence[Series]) -> bytes:
    """As io.prometheus.write.v2.Request."""
    symbols: dict[str, int] = {"": 0}

    def refs(pairs: Pairs) -> list[int]:
        return [symbols.setdefault(text, len(symbols)) for pair in pairs for text in pair]

    message = wire.RequestV2()
    for one in series:
        made = wire.SeriesV2(labels_refs=refs(one.labels), histograms=one.histograms)
        for time_ms, value in one.samples:
            made.samples.add(value=value, timestamp=time_ms)
        for pairs, value in one.exemplars:
            made.exemplars.add(labels_refs=refs(pairs), value=value, timestamp=T0_MS)
        if one.metadata is not None:
            kind, help_text, unit = one.metadata
            help_ref, unit_ref = refs(((help_text, unit),))
            made.metadata.CopyFrom(wire.MetadataV2(type=kind, help_ref=help_ref, unit_ref=unit_ref))
        message.timeseries.append(made.SerializeToString())
    message.symbols.extend(text.encode() for text in symbols)
    return message.SerializeToString()


@dataclass
class Door:
    """A receiver of one version, and a reader of what it stores."""

    version: int
    cache: SeriesCache = field(default_factory=lambda: SeriesCache(1000))
    reader: Reader = field(default_factory=Reader)

    def __post_init__(self) -> None:
        self._translator: Any = (RemoteWriteV1, RemoteWriteV2)[self.version - 1](self.cache)
        self._encode = (version_1, version_2)[self.version - 1]

    def translate(self, *series: Series) -> Translation:
        """Translate, and remember as after a durable append."""
        return self.translate_bytes(self._encode(series))

    def translate_bytes(self, body: bytes) -> Translation:
        """The same for an encoded body."""
        translation: Translation = self._translator.translate("t", body, T0_MS, admit_all)
        self.cache.learn(translation.learned)
        return translation

    def read_back(self, *series: Series) -> Decoded:
        """The series that a request becomes."""
        return self.reader.read(encoded_bodies(self.translate(*series)))


@pytest.fixture(params=[1, 2], ids=["1.0", "2.0"])
def door(request: pytest.FixtureRequest) -> Door:
    """Each version in turn."""
    return Door(request.param)


def test_samples_are_stored_bit_for_bit(door: Door) -> None:
    """The first time one by one, then in bulk; with zeros, infinities, NaN and stale markers; out of order and old ones too."""
    values = [1.5, 0.0, -0.0, float("inf"), float("nan"), STALE]
    series = [Series((("__name__", "m"), ("n", str(n))), [(T0_MS + n, value)]) for n, value in enumerate(values)]
    for _ in range(2):
        decoded = door.read_back(*series)
        for n, value in enumerate(values):
            [(time_ms, found)] = decoded.samples[labels(name="m", n=str(n))]
            assert (time_ms, bits(found)) == (T0_MS + n, bits(value))
    decoded = door.read_back(Series(samples=[(T0_MS, 1), (T0_MS - 10**9, 2), (T0_MS - 1, 3)]))
    assert decoded.samples[labels(name="up", job="a")] == [(T0_MS - 10**9, 2), (T0_MS - 1, 3), (T0_MS, 1)]


def test_labels_of_any_order_are_one_series(door: Door) -> None:
    """And empty values are not labels."""
    decoded = door.read_back(Series((("job", "a"), ("empty", ""), ("__name__", "up"))), Series(UP, [(T0_MS + 1, 2.0)]))
    assert decoded.samples == {labels(name="up", job="a"): [(T0_MS, 1.0), (T0_MS + 1, 2.0)]}


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ((("job", "a"),), "missing label __name__"),
        ((), "missing label __name__"),
        ((("__name__", ""), ("job", "a")), "missing label __name__"),
        ((("__name__", "x"), ("a", "1"), ("a", "2")), "label 'a' comes twice"),
        ((("", "x"), ("__name__", "x")), "a label has no name"),
    ],
)
def test_bad_label_sets_are_refused_and_the_rest_is_stored(door: Door, pairs: Pairs, reason: str) -> None:
    """Each of their samples is counted."""
    translation = door.translate(Series(), Series(pairs, [(T0_MS, 1), (T0_MS + 1, 2)]), Series((("__name__", "down"),)))
    assert refusals(translation) == {reason: 2}
    assert (translation.items, len(translation.samples)) == (4, 2)


def test_times_that_no_hour_has_are_refused(door: Door) -> None:
    """Negative and far away; the first millisecond of 1970 is valid."""
    translation = door.translate(Series(samples=[(-1, 1), (0, 1), (2**62, 1), (T0_MS, 1)]))
    assert refusals(translation) == {"its time is before 1970 or after 2105": 2}
    assert len(translation.samples) == 2


def test_label_text_that_is_not_utf8_is_refused(door: Door) -> None:
    """Only its series is."""
    body = (version_1 if door.version == 1 else version_2)([Series((("__name__", "BAD!"),)), Series()]).replace(b"BAD!", b"B\xff\xfeD")
    translation = door.translate_bytes(body)
    assert len(translation.refusals.positions) == 1
    assert len(translation.samples) == 1


def test_metadata_and_exemplars(door: Door) -> None:
    """An exemplar that is too long is dropped, because exemplars are optional."""
    long = Series(
        (("__name__", "hits_total"),), exemplars=[((("trace_id", "ab" * 16),), 3.0), ((("x", "y" * 200),), 4.0)], metadata=(1, "Hits", "1")
    )
    translation = door.translate(long)
    decoded = door.reader.read(encoded_bodies(translation))
    [exemplar] = decoded.exemplars[labels(name="hits_total")]
    assert (exemplar.value, exemplar.trace_id, dict(zip(exemplar.label_names, exemplar.label_values, strict=True))) == (
        3.0,
        b"\xab" * 16,
        {"trace_id": "ab" * 16},
    )
    assert [(family.name, family.type, family.help, family.unit) for family in decoded.families] == [("hits_total", "counter", "Hits", "1")]
    assert not refusals(translation)
    assert not door.translate(long).families


def integer_histogram(**changes: Any) -> wire.Histogram:
    """Buckets -1: 1, 0: 3, 3: 2; zero 4; 10 observations."""
    fields: dict[str, Any] = {
        "count_int": 10,
        "sum": 18.5,
        "schema": 1,
        "zero_threshold": 0.5,
        "zero_count_int": 4,
        "positive_spans": [wire.Span(offset=-1, length=2), wire.Span(offset=2, length=1)],
        "positive_deltas": [1, 2, -1],
        "timestamp": T0_MS,
        "reset_hint": 2,
    }
    return wire.Histogram(**{**fields, **changes})


def test_integer_histograms(door: Door) -> None:
    """Spans and deltas unfold to absolute counts."""
    [found] = door.read_back(Series(samples=(), histograms=[integer_histogram()])).histograms[labels(name="up", job="a")]
    assert dict(zip(found.positive_index, found.positive_counts, strict=True)) == {-1: 1.0, 0: 3.0, 3: 2.0}
    assert (found.schema, found.count, found.sum, found.zero_count, found.zero_threshold, found.reset_hint) == (1, 10.0, 18.5, 4.0, 0.5, 2)


def test_float_histograms(door: Door) -> None:
    """Counts are absolute already; a gauge is marked as one."""
    received = wire.Histogram(
        count_float=4.5,
        zero_count_float=1.0,
        negative_spans=[wire.Span(offset=2, length=2)],
        negative_counts=[3.5, 0.0],
        timestamp=T0_MS,
        reset_hint=3,
    )
    [found] = door.read_back(Series(samples=(), histograms=[received])).histograms[labels(name="up", job="a")]
    assert (list(found.negative_index), list(found.negative_counts), found.count, found.reset_hint) == ([2], [3.5], 4.5, 3)


def test_histograms_with_custom_bounds(door: Door) -> None:
    """The bucket after the last bound is +Inf's."""
    received = wire.Histogram(
        count_int=3,
        sum=1.0,
        schema=-53,
        custom_values=[1.0, 5.0],
        positive_spans=[wire.Span(offset=0, length=3)],
        positive_deltas=[1, -1, 2],
        timestamp=T0_MS,
    )
    [found] = door.read_back(Series(samples=(), histograms=[received])).histograms[labels(name="up", job="a")]
    assert dict(zip(found.positive_index, found.positive_counts, strict=True)) == {0: 1.0, 2: 2.0}
    assert list(found.custom_bounds) == [1.0, 5.0]


def test_a_stale_histogram_ends_its_series(door: Door) -> None:
    """Whatever its other fields are."""
    [found] = door.read_back(Series(samples=(), histograms=[integer_histogram(sum=STALE, schema=77)])).histograms[
        labels(name="up", job="a")
    ]
    assert bits(found.sum) == STALE_BITS


@pytest.mark.parametrize(
    "changes",
    [
        {"count_int": 11},
        {"count_int": 9},
        {"schema": 9},
        {"schema": -54},
        {"positive_deltas": [1, 2]},
        {"positive_deltas": [1, -2, 3]},
        {"positive_spans": [wire.Span(offset=0, length=2), wire.Span(offset=-1, length=1)]},
        {"positive_spans": [wire.Span(offset=0, length=2**32 - 1)]},
        {"positive_spans": [wire.Span(offset=2**31 - 2, length=3)]},
        {"schema": -53, "custom_values": [2.0, 1.0]},
        {"schema": -53, "custom_values": [1.0, 2.0, 3.0, 4.0]},
    ],
)
def test_inconsistent_histograms_are_refused(door: Door, changes: dict[str, Any]) -> None:
    """Before memory is allocated for what they claim."""
    translation = door.translate(Series(samples=(), histograms=[integer_histogram(**changes)]), Series())
    assert len(translation.refusals.positions) == 1
    assert (len(translation.histograms), len(translation.samples)) == (0, 1)


def test_observations_of_nan_are_in_no_bucket(door: Door) -> None:
    """They count, and make the sum NaN."""
    assert not refusals(door.translate(Series(samples=(), histograms=[integer_histogram(count_int=12, sum=float("nan"))])))


def test_references_beyond_the_symbols_are_refused() -> None:
    """So is an odd number of references; the rest is stored."""
    message = wire.RequestV2(symbols=[b"", b"__name__", b"up"])
    samples = [wire.Sample(value=1, timestamp=T0_MS)]
    series = [wire.SeriesV2(labels_refs=refs, samples=samples) for refs in ([1, 99], [1, 2, 1], [1, 2])]
    series.append(wire.SeriesV2(labels_refs=[1, 2], exemplars=[wire.ExemplarV2(labels_refs=[7, 8], value=1, timestamp=T0_MS)]))
    message.timeseries.extend(one.SerializeToString() for one in series)
    translation = Door(2).translate_bytes(message.SerializeToString())
    assert refusals(translation) == {"a label refers to symbol 99 and there are 3": 1, "a label has a name and no value": 1}
    assert (len(translation.samples), len(translation.exemplars)) == (1, 0)


def test_metadata_of_version_2_is_the_family_s() -> None:
    """It comes with each series of a histogram."""
    door = Door(2)
    series = [Series((("__name__", f"lat_{part}"),), metadata=(3, "Latency", "s")) for part in ("bucket", "count", "sum")]
    assert [(family.name, family.type) for family in door.read_back(*series).families] == [("lat", "histogram")]


def test_a_malformed_request_is_rejected(door: Door) -> None:
    """As a whole."""
    with pytest.raises(Rejected, match="not a valid"):
        door.translate_bytes(b"\xff\xff")


def test_the_first_symbol_is_empty() -> None:
    """Otherwise optional texts would have a wrong value."""
    with pytest.raises(Rejected, match="symbol"):
        Door(2).translate_bytes(wire.RequestV2(symbols=[b"x"]).SerializeToString())


def test_a_body_of_the_other_version_is_empty() -> None:
    """The field numbers are disjoint, so a wrong content type gives an empty request and never wrong data."""
    assert Door(1).translate_bytes(version_2([Series()])).items == 0
    assert Door(2).translate_bytes(version_1([Series()])).items == 0


def test_series_of_version_2_are_known_whatever_the_order_of_their_symbols() -> None:
    """Also with more symbols than one byte can number, and when most series are new."""
    door = Door(2)
    series = [Series((("__name__", "m"), ("n", str(n))), [(T0_MS, n)], metadata=(2, f"help {n % 3}", "")) for n in range(300)]
    assert len(door.translate(*series).new_series) == 300
    again = door.translate(*reversed(series), Series((("__name__", "other"),)))
    assert len(again.new_series) == 1
    decoded = door.reader.read([*encoded_bodies(again), *encoded_bodies(Door(2).translate(*series))])
    assert decoded.samples[labels(name="m", n="299")] == [(T0_MS, 299.0)] * 2


def test_a_tail_that_only_looks_regular_is_read_as_it_is() -> None:
    """Bytes of a label's value may look like a sample; protobuf's reading counts."""
    value = "\x12\x10\t" + "v" * 8 + "\x10" + "t" * 6
    for version in (1, 2):
        door = Door(version)
        for _ in range(2):
            decoded = door.read_back(
                Series((("__name__", "m"), ("z", value)), ()), Series((("__name__", "m"), ("z", value)), [(T0_MS, 5.0)])
            )
            assert decoded.samples == {labels(name="m", z=value): [(T0_MS, 5.0)]}
