"""What ClickHouse's reader of series and the merged one do beyond every SeriesReader's contract: bounds of a shard, long grids, and shards
that fail or know the same series.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from tael.errors import Rejected, TooLarge, Unavailable
from tael.metrics.identity import labels_id
from tael.model.series import (
    Exemplar,
    GridFunction,
    GridRequest,
    Selection,
    labels_of,
)
from tael.storage.api import Answer, Shard
from tael.storage.clickhouse.series import reader as series
from tael.storage.clickhouse.series.reader import ClickHouseSeries
from tael.storage.gather import Shards
from tael.storage.merged_series import MergedSeries
from tael.vectors.histograms.text import parse
from tests.support.databases import MakeNode
from tests.support.hotnode import HotNode
from tests.support.series import StoredSeries
from tests.support.series_questions import EVER, HOUR, MANY, MINUTE, T0, grid_of, matchers, named, request, select, shown
from tests.support.storage import open_tier


async def test_a_mean_that_overflows_on_a_shard_is_left_to_the_caller(shared_hot_node: HotNode) -> None:
    async with open_tier([shared_hot_node]) as tier:
        stored = StoredSeries(tier)
        for name, value in (("huge", 1.5e308), ("large", 1e300)):
            stored.add({"__name__": name}, [(T0 + at, value) for at in range(2)])
        assert await grid_of(stored, "avg_over_time", "huge", T0 + 10) is None
        grid = await grid_of(stored, "avg_over_time", "large", T0 + 10)
        assert grid is not None
        assert grid.values.tolist() == [[1e300]]


@pytest.mark.parametrize("most", [2, 3])
async def test_a_shard_loads_the_labels_of_so_many_series_only(shared_hot_node: HotNode, most: int) -> None:
    """Whatever asks for them: more are refused, unless it is a list that ends before."""
    async with open_tier([shared_hot_node]) as tier:
        stored = StoredSeries(tier)
        for job in "cba":
            stored.add({"__name__": "up", "job": job}, [(T0, 1.0)])
        stored.add_exemplar(Exemplar(labels_of({"__name__": "up", "job": "a"}), T0, 1.0, (("trace_id", "ab"),)))
        await stored.flush()
        reader = ClickHouseSeries(tier.clickhouses[0], max_series=most)
        selection = Selection(matchers("__name__=up"), T0 - HOUR, T0)
        first = [labels_of({"__name__": "up", "job": job}) for job in "ab"]
        assert (await reader.list_series("t1", selection, 2)).value == first
        asked = (
            lambda: reader.select("t1", selection, MANY),
            lambda: reader.grid("t1", request("last", "up", T0), MANY),
            lambda: reader.list_series("t1", selection, 0),
            lambda: reader.exemplars("t1", [selection.matchers], T0, T0),
        )
        for ask in asked:
            if most == 3:
                assert await ask()
                continue
            with pytest.raises(TooLarge, match="too many series"):
                await ask()


async def test_a_shard_does_not_answer_more_histograms_than_there_is_room_for(shared_hot_node: HotNode) -> None:
    async with open_tier([shared_hot_node]) as tier:
        stored = StoredSeries(tier)
        wide = parse("{{schema:0 count:3000 sum:5 buckets:[" + "1 " * 3000 + "]}}")
        stored.add({"__name__": "wide"}, [(T0 + at, wide) for at in range(20)])
        await stored.flush()
        selection = Selection(matchers("__name__=wide"), T0 - 1, T0 + 100)
        reader = ClickHouseSeries(tier.clickhouses[0])
        assert len((await reader.select("t1", selection, MANY)).value.times_ms) == 20
        with pytest.raises(TooLarge, match="too many samples"):
            await reader.select("t1", selection, 20_000)


@pytest.mark.parametrize("function", ["last", "rate"])
async def test_a_long_grid_is_read_in_stretches(shared_hot_node: HotNode, function: GridFunction, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is the same as in one piece; a series that is only in some of them is empty in the others."""
    async with open_tier([shared_hot_node]) as tier:
        store = StoredSeries(tier)
        store.add({"__name__": "c", "n": "0"}, [(T0 + at * 15_000, float(at)) for at in range(100)])
        store.add({"__name__": "c", "n": "1"}, [(T0 + at * 15_000, float(at * 2)) for at in range(70, 100)])
        whole = await grid_of(store, function, "c", T0, steps=27)
        monkeypatch.setattr(series, "GRID_STEPS", 10)
        pieces = await grid_of(store, function, "c", T0, steps=27)
    assert whole is not None
    assert pieces is not None
    assert list(whole.labels) == list(pieces.labels)
    assert np.array_equal(whole.present, pieces.present)
    assert np.array_equal(whole.values, pieces.values, equal_nan=True)


async def test_a_shard_that_does_not_answer_is_named(migrated_nodes: MakeNode) -> None:
    """What the other one has is there."""
    nodes = [migrated_nodes(), migrated_nodes()]
    async with open_tier(nodes) as tier:
        stored = StoredSeries(tier)
        stored.add({"__name__": "up"}, [(T0, 1.0)])
        await stored.flush()
        nodes[1].kill()
        reader = stored.reader
        answers: Iterable[Answer[object] | None] = [
            await reader.select("t1", named("up"), MANY),  # type: ignore[list-item]  # any value
            await reader.grid("t1", request("last", "up", T0), MANY),  # type: ignore[list-item]
            await reader.label_names("t1", named("up"), 0),  # type: ignore[list-item]
        ]
        assert [answer.missing for answer in answers if answer is not None] == [("shard-1",)] * 3
        nodes[0].kill()
        with pytest.raises(Unavailable):
            await reader.select("t1", named("up"), MANY)


async def test_series_that_two_shards_know_are_one(shared_hot_node: HotNode, second_hot_node: HotNode) -> None:
    """Their samples together; a grid of them is left to the caller."""
    async with open_tier([shared_hot_node]) as first, open_tier([second_hot_node]) as second:
        for tier, shift in ((first, 0), (second, 1)):
            stored = StoredSeries(tier)
            stored.add({"__name__": "up"}, [(T0 + 2 * at + shift, float(shift)) for at in range(3)])
            stored.add({"__name__": "up"}, [(T0 + 10, float(shift))])
            stored.add({"__name__": "up", "only": str(shift)}, [(T0, 1.0)])
            await stored.flush()
        reader = MergedSeries(
            Shards([Shard("a", ClickHouseSeries(first.clickhouses[0])), Shard("b", ClickHouseSeries(second.clickhouses[0]))])
        )
        found = shown((await reader.select("t1", named("up"), MANY)).value)
        assert found["__name__=up"] == [(0, 0.0), (1, 1.0), (2, 0.0), (3, 1.0), (4, 0.0), (5, 1.0), (10, 1.0)]
        assert list(found) == ["__name__=up", "__name__=up,only=0", "__name__=up,only=1"]
        assert await reader.grid("t1", request("last", "up", T0 + 10), MANY) is None


async def test_an_invalid_regular_expression_is_refused(shared_hot_node: HotNode) -> None:
    """It is the query that is wrong, not the shard."""
    async with open_tier([shared_hot_node]) as tier:
        stored = StoredSeries(tier)
        stored.add({"__name__": "up"}, [(T0, 1.0)])
        await stored.flush()
        with pytest.raises(Rejected):
            await stored.reader.select("t1", Selection(matchers("__name__=~("), *EVER), MANY)


async def test_a_series_under_two_numbers_is_one(shared_hot_node: HotNode, second_hot_node: HotNode) -> None:
    """Its number is made otherwise since docs/adr/0024: what was written before an upgrade goes on behind it, on whatever shard."""
    labels = labels_of({"__name__": "up", "job": "api", "n": "0"})
    others = [labels_of({"__name__": "up", "job": "api", "n": name}) for name in ("1", "2")]
    for nodes in ([shared_hot_node], [shared_hot_node, second_hot_node]):
        async with open_tier(nodes, tiering="hot") as tier:
            store = StoredSeries(tier)
            before = labels_id("t1", labels)
            store.add(labels, [(T0 + step * MINUTE, float(step)) for step in range(10)], number=before)
            store.add(labels, [(T0 + step * MINUTE, float(step)) for step in range(8, 20)])
            for other in others:
                store.add(other, [(T0, 1.0)])
            found = await select(store, "__name__=up")
            assert list(found) == [",".join("=".join(pair) for pair in one) for one in (labels, *others)]
            assert found[",".join("=".join(pair) for pair in labels)] == [(step * MINUTE, float(step)) for step in range(20)]
            asked = Selection(matchers("__name__=up"), *EVER)
            assert (await store.reader.list_series("t1", asked, 0)).value == [labels, *others]
            assert (await store.reader.list_series("t1", asked, 2)).value == [labels, others[0]]
            request = GridRequest(matchers("__name__=up"), "rate", T0 + 5 * MINUTE, T0 + 15 * MINUTE, MINUTE, 5 * MINUTE)
            assert await store.reader.grid("t1", request, MANY) is None
            elsewhere = GridRequest(matchers("__name__=up"), "rate", T0 + 16 * MINUTE, T0 + 19 * MINUTE, MINUTE, 5 * MINUTE)
            assert (answer := await store.reader.grid("t1", elsewhere, MANY)) is not None
            assert list(answer.value.labels) == [labels]
