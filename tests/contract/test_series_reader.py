"""What every SeriesReader must hold (tael/storage/api.py): in memory, one shard, two shards."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from tael.errors import TooLarge
from tael.model.series import (
    STALE,
    Exemplar,
    Family,
    GridRequest,
    Selection,
    labels_of,
)
from tael.vectors.histograms.text import expressions, parse
from tests.support.series import MemorySeries, SeriesStore, StoredSeries
from tests.support.series_questions import EVER, HOUR, MANY, MINUTE, T0, grid_of, matchers, named, request, select
from tests.support.storage import COMPOSITIONS, composed


@pytest.fixture(params=["memory", *COMPOSITIONS])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SeriesStore]:
    """Each composition in turn, empty."""
    if request.param == "memory":
        yield MemorySeries()
        return
    async with composed(request, request.param) as tier:
        yield StoredSeries(tier)


async def series_of(store: SeriesStore, *texts: str) -> list[str]:
    """Which of ``fill``'s series match, by their label ``n``."""
    answer = await store.reader.select("t1", Selection(matchers(*texts), *EVER), MANY)
    listed = await store.reader.list_series("t1", Selection(matchers(*texts), *EVER), 0)
    assert list(answer.value.labels) == listed.value
    return sorted(dict(labels).get("n", "") for labels in listed.value)


async def fill(store: SeriesStore) -> None:
    """Series that differ in what matchers look at."""
    for index, labels in enumerate(
        (
            {"__name__": "up", "job": "api", "n": "0"},
            {"__name__": "up", "job": "web", "n": "1", "path": "/a.b"},
            {"__name__": "up", "n": "2", "path": "line\nbreak"},
            {"__name__": "down", "job": "api", "n": "3", "utf8.näme": "wert"},
            {"job": "nameless", "n": "4"},
        )
    ):
        store.add(labels, [(T0 + index, float(index))])
    store.add({"__name__": "up", "n": "another tenant's"}, [(T0, 1.0)], tenant="t2")
    await store.flush()


MATCHING: list[tuple[list[str], str]] = [
    (["__name__=up"], "012"),
    (["__name__=up", "job=api"], "0"),
    (["__name__=up", "job!=api"], "12"),
    (["__name__=up", "job="], "2"),
    (["__name__=up", "job!="], "01"),
    (["__name__=up", "absent="], "012"),
    (["__name__=up", "job=~a.*|web"], "01"),
    (["__name__=up", "job=~ap"], ""),
    (["__name__=up", "job!~ap|w.b"], "02"),
    (["__name__=up", "job=~.*"], "012"),
    (["__name__=up", "job=~.+"], "01"),
    (["__name__=up", "path=~/a\\.b"], "1"),
    (["__name__=up", "path=~line.break"], "2"),
    (["__name__=up", "path=~LINE.BREAK"], ""),
    (["__name__=up", "path=~(?i)LINE.BREAK"], "2"),
    (["__name__=~u.|do.*", "job=api"], "03"),
    (["__name__!=up", "n!="], "34"),
    (["__name__!~up|down", "n!="], "4"),
    (["__name__=", "n!="], "4"),
    (["__name__=~up", "__name__!=up"], ""),
    (["__name__=up", "__name__=~down"], ""),
    (["utf8.näme=wert"], "3"),
    (["utf8.näme=~w.{2}t"], "3"),
    (["n=~[0-3]"], "0123"),
    (["__name__=unknown"], ""),
    (["__name__=up", "job='; DROP TABLE samples; --"], ""),
]


async def test_matchers_find_the_series_that_prometheus_would(store: SeriesStore) -> None:
    """Samples and lists of series agree, and no other tenant's is among them."""
    await fill(store)
    for texts, found in MATCHING:
        assert (texts, await series_of(store, *texts)) == (texts, list(found))


async def test_samples_come_by_labels_and_time_within_the_range(store: SeriesStore) -> None:
    """The start is left out and the end is in; a series without a sample there is left out, and hours do not matter."""
    times = [0, 1, 1000, HOUR, HOUR + 1, 5 * HOUR]
    store.add({"__name__": "up", "job": "b"}, [(T0 + at, at / 10) for at in reversed(times)])
    store.add({"__name__": "up", "job": "a"}, [(T0 + 5 * HOUR, 7.0)])
    found = await select(store, "__name__=up", start=T0 + 1, end=T0 + HOUR + 1)
    assert found == {"__name__=up,job=b": [(1000, 100.0), (HOUR, 360_000.0), (HOUR + 1, 360_000.1)]}
    whole = await select(store, "__name__=up")
    assert list(whole) == ["__name__=up,job=a", "__name__=up,job=b"]
    assert await select(store, "__name__=up", start=T0 + 5 * HOUR, end=T0 + 9 * HOUR) == {}
    assert await select(store, "__name__=up", start=T0, end=T0 - 1) == {}


async def test_values_come_back_bit_for_bit(store: SeriesStore) -> None:
    """Stale markers, other NaNs, infinities, the smallest and negative zero."""
    wanted = np.array([STALE, np.nan, np.inf, -np.inf, 5e-324, -0.0, 1.7976931348623157e308, 0.1])
    store.add({"__name__": "odd"}, [(T0 + index, value) for index, value in enumerate(wanted.tolist())])
    await store.flush()
    found = (await store.reader.select("t1", named("odd"), MANY)).value
    assert found.values.view(np.uint64).tolist() == wanted.view(np.uint64).tolist()
    assert found.histogram is None


async def test_of_one_time_the_last_write_counts(store: SeriesStore) -> None:
    """Whether it comes with the first or later, smaller or larger, stale or not."""
    series = {"__name__": "twice"}
    store.add(series, [(T0, 1.0), (T0 + 1, 5.0), (T0 + 2, 1.0), (T0, 3.0)])
    await store.flush()
    store.add(series, [(T0 + 1, 2.0), (T0 + 2, STALE)])
    assert await select(store, "__name__=twice") == {"__name__=twice": [(0, 3.0), (1, 2.0), (2, "stale")]}
    for function, value in (("last", None), ("max_over_time", 3.0), ("count_over_time", 2.0)):
        if (grid := await grid_of(store, function, "twice", T0 + MINUTE)) is not None:  # type: ignore[arg-type]  # a GridFunction
            assert grid.values[grid.present].tolist() == ([] if value is None else [value])


async def test_native_histograms_come_back_whole(store: SeriesStore) -> None:
    """Beside floats and stale markers, in one series and in several."""
    texts = [
        "{{schema:1 sum:5.5 count:9 z_bucket:2 z_bucket_w:0.001 offset:-3 buckets:[1 0 2] n_offset:1 n_buckets:[4]}}",
        "{{schema:-53 sum:7 count:3 custom_values:[1 2.5] buckets:[1 0 2]}}",
        "{{schema:-53 sum:8 count:3 custom_values:[1 2.5] buckets:[1 1 1]}}",
        "{{schema:8 sum:1 count:1 buckets:[1]}}",
    ]
    wanted = expressions(parse(texts[0])) + expressions(parse(texts[1])) + expressions(parse(texts[2])) + expressions(parse(texts[3]))
    store.add({"__name__": "h", "n": "0"}, [(T0, parse(texts[0])), (T0 + 1, 1.5), (T0 + 2, parse(texts[1])), (T0 + 3, STALE)])
    store.add({"__name__": "h", "n": "1"}, [(T0, parse(texts[2]))])
    store.add({"__name__": "h", "n": "2"}, [(T0, 2.0)])
    store.add({"__name__": "h", "n": "3"}, [(T0 + 5, parse(texts[3]))])
    assert await select(store, "__name__=h") == {
        "__name__=h,n=0": [(0, wanted[0]), (1, 1.5), (2, wanted[1]), (3, "stale")],
        "__name__=h,n=1": [(0, wanted[2])],
        "__name__=h,n=2": [(0, 2.0)],
        "__name__=h,n=3": [(5, wanted[3])],
    }
    assert await select(store, "__name__=h", "n=3") == {"__name__=h,n=3": [(5, wanted[3])]}


async def test_a_grid_is_left_to_the_caller_where_a_native_histogram_matches(store: SeriesStore) -> None:
    """Only where it does, and only in the times that are looked at."""
    store.add({"__name__": "h", "n": "0"}, [(T0, parse("{{count:1 sum:1 buckets:[1]}}"))])
    store.add({"__name__": "h", "n": "1"}, [(T0, 1.0)])
    await store.flush()
    assert await store.reader.grid("t1", request("last", "h", T0 + MINUTE), MANY) is None
    if not isinstance(store, MemorySeries):
        assert await store.reader.grid("t1", request("last", "h", T0 + HOUR), MANY) is not None
        chosen = GridRequest(matchers("__name__=h", "n=1"), "last", T0, T0, 0, MINUTE)
        assert await store.reader.grid("t1", chosen, MANY) is not None


async def test_more_samples_than_asked_for_are_too_large(store: SeriesStore) -> None:
    """Exactly as many are not; the words are Prometheus'."""
    for n in range(5):
        store.add({"__name__": "many", "n": str(n)}, [(T0 + at, 1.0) for at in range(4)])
    await store.flush()
    assert len((await store.reader.select("t1", named("many"), 20)).value.times_ms) == 20
    with pytest.raises(TooLarge, match="query processing would load too many samples into memory in query execution"):
        await store.reader.select("t1", named("many"), 19)
    if not isinstance(store, MemorySeries):
        grid = await store.reader.grid("t1", request("last", "many", T0 + 10), 5)
        assert grid is not None
        assert len(grid.value.labels) == 5
        with pytest.raises(TooLarge, match="too many samples"):
            await store.reader.grid("t1", request("last", "many", T0 + 10), 4)


async def test_labels_are_listed_by_hour(store: SeriesStore) -> None:
    """Names, values and series of the hours that a range touches, ordered, with a limit."""
    store.add({"__name__": "up", "job": "b", "zone": "z"}, [(T0, 1.0)])
    store.add({"__name__": "up", "job": "a"}, [(T0 + HOUR, 1.0)])
    store.add({"__name__": "Up", "job": "c"}, [(T0 + 2 * HOUR, 1.0)])
    await store.flush()
    reader, ever = store.reader, Selection((), *EVER)
    assert (await reader.label_names("t1", ever, 0)).value == ["__name__", "job", "zone"]
    assert (await reader.label_names("t1", ever, 2)).value == ["__name__", "job"]
    assert (await reader.label_names("t1", Selection(matchers("job=a"), *EVER), 0)).value == ["__name__", "job"]
    assert (await reader.label_values("t1", "job", ever, 0)).value == ["a", "b", "c"]
    assert (await reader.label_values("t1", "job", ever, 1)).value == ["a"]
    assert (await reader.label_values("t1", "job", Selection((), T0 + HOUR + 5, T0 + HOUR + 6), 0)).value == ["a"]
    assert (await reader.label_values("t1", "__name__", ever, 0)).value == ["Up", "up"]
    assert (await reader.label_values("t1", "zone", ever, 0)).value == ["z"]
    assert (await reader.label_values("t1", "no such", ever, 0)).value == []
    listed = (await reader.list_series("t1", ever, 2)).value
    assert listed == [labels_of({"__name__": "Up", "job": "c"}), labels_of({"__name__": "up", "job": "a"})]
    assert (await reader.label_names("t2", ever, 0)).value == []


async def test_metadata_is_listed_by_family(store: SeriesStore) -> None:
    """Once, however often it was said."""
    families = [
        Family("up", "gauge", "", "whether it is"),
        Family("a_total", "counter", "bytes", "ä\n"),
        Family("up", "counter", "", "other"),
    ]
    for family in (*families, families[0]):
        store.add_family(family)
    await store.flush()
    assert (await store.reader.families("t1", "", 0)).value == [families[1], families[2], families[0]]
    assert (await store.reader.families("t1", "up", 0)).value == [families[2], families[0]]
    assert (await store.reader.families("t1", "", 1)).value == [families[1]]
    assert (await store.reader.families("t2", "", 0)).value == []


async def test_exemplars_come_by_series_and_time(store: SeriesStore) -> None:
    """Of series that match any of several sets of matchers, each once, both ends of the range included."""
    up, down = labels_of({"__name__": "up"}), labels_of({"__name__": "down"})
    exemplars = [Exemplar(series, T0 + at, at / 2, labels_of({"trace_id": f"{at:032x}"})) for series in (down, up) for at in (0, 5, 9)]
    for labels in (up, down):
        store.add(labels, [(T0, 1.0)])
    for exemplar in exemplars:
        store.add_exemplar(exemplar)
    await store.flush()
    several = [matchers("__name__=~up|down"), matchers("__name__=up")]
    assert (await store.reader.exemplars("t1", several, T0, T0 + 9)).value == exemplars
    assert (await store.reader.exemplars("t1", several[1:], T0 + 5, T0 + 8)).value == exemplars[4:5]
