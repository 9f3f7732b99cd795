"""The same samples in Prometheus and in tael, and the same questions to both: hundreds of expressions, at one time and over a range.

Debian's Prometheus is 2.42, whose ranges hold both of their ends; samples are kept off every window's border, where 3.0 differs.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate, product
from pathlib import Path
from typing import Any

import pytest

from tael.model.series import STALE, Labels, labels_of
from tael.model.tenant import DEFAULT_TENANT
from tael.promql.aggregators import AGGREGATORS
from tael.promql.ast import Aggregate, Binary, Call, Expr, Number, walk
from tael.promql.errors import ParseError
from tael.promql.functions import FUNCTIONS
from tael.promql.parse import PRECEDENCE, parse
from tael.vectors.binary import SETS
from tests.peers.conftest import lacking
from tests.support.doubles import MemorySpans
from tests.support.hotnode import HotNode
from tests.support.prometheus import Prometheus, ask, installed
from tests.support.promql_expressions import AT, EXCUSED, NEWER, RANGE, T0, expressions
from tests.support.query import serving
from tests.support.series import MemorySeries, StoredSeries
from tests.support.storage import open_tier

SCRAPE_MS = 15_000
SCRAPES = 240
AT_ONCE = 4


def test_everything_of_the_language_is_asked() -> None:
    """Every function, aggregation and operator, each with every form of matching that it takes."""
    parsed = [node for expression in expressions() for node in walk(_parsed(expression))]
    called = {node.function for node in parsed if isinstance(node, Call)}
    assert {name for name, function in FUNCTIONS.items() if not function.experimental} - called == NEWER - set(PRECEDENCE)
    assert {node.op for node in parsed if isinstance(node, Aggregate)} >= {
        name for name, aggregator in AGGREGATORS.items() if not aggregator.experimental
    }
    matched = {(node.op, node.matching.card, node.matching.on) for node in parsed if isinstance(node, Binary) and node.matching is not None}
    cards = ("one-to-one", "many-to-one", "one-to-many")
    assert matched >= set(product(PRECEDENCE.keys() - NEWER - set(SETS), cards, (True, False)))
    assert matched >= set(product(SETS, ("many-to-many",), (True, False)))


def _parsed(expression: str) -> Expr:
    try:
        return parse(expression)
    except ParseError:
        return Number(0.0)


Values = list[float | None]


def samples() -> list[tuple[Labels, list[tuple[int, float]]]]:
    """What both hold: gauges, counters with resets, gaps, series that end, odd values, classic histograms."""
    chance = random.Random(7)
    found = [*gauges(chance), *counters(chance)]
    for job, instance, version in (("api", "a:80", "1"), ("api", "b:80", "2"), ("web", "a:80", "1"), ("web", "b:80", "1")):
        found.append(({"__name__": "build_info", "job": job, "instance": instance, "version": version}, [1.0] * SCRAPES))
        found += histogram(chance, {"job": job, "instance": instance})
    return [
        (
            labels_of(labels),
            [(T0 * 1000 + i * SCRAPE_MS + 137 + 53 * series % 700, value) for i, value in enumerate(values) if value is not None],
        )
        for series, (labels, values) in enumerate(found)
    ]


def gauges(chance: random.Random) -> Iterator[tuple[dict[str, str], Values]]:
    """Some that are always there, one that comes and goes, some of odd values."""
    for room in ("kitchen", "bath", "attic", ""):
        yield {"__name__": "temperature", "room": room}, [20 + 3 * math.sin(i / 20) + chance.gauss(0, 0.5) for i in range(SCRAPES)]
    yield {"__name__": "sparse", "room": "kitchen"}, [float(i) if i % 30 < 8 else None for i in range(SCRAPES)]
    for index, value in enumerate((math.nan, math.inf, -math.inf, 0.0, -1e-300)):
        yield {"__name__": "odd", "n": str(index)}, [value if i % 3 else float(i) for i in range(SCRAPES)]


def counters(chance: random.Random) -> Iterator[tuple[dict[str, str], Values]]:
    """Each reset now and then, one with a gap, one that ends and begins again."""
    for index, (job, code, instance) in enumerate(product(("api", "web"), ("200", "404", "500"), ("a:80", "b:80"))):
        values: Values = []
        total = 0.0
        for scrape in range(SCRAPES):
            total = 0.0 if chance.random() < 0.01 else total + chance.randint(0, 9 + 3 * index)
            values.append(None if index == 4 and 60 < scrape < 110 else total)
        yield {"__name__": "requests_total", "job": job, "code": code, "instance": instance}, values
    ending: Values = [float(i) if i % 50 < 30 else STALE if i % 50 == 30 else None for i in range(SCRAPES)]
    yield {"__name__": "sparse_total", "room": "kitchen"}, ending


def histogram(chance: random.Random, own: dict[str, str]) -> Iterator[tuple[dict[str, str], Values]]:
    """A classic one of durations."""
    bounds = (0.1, 0.3, 0.5, 1, math.inf)
    took = [[chance.expovariate(3) for _ in range(chance.randint(0, 6))] for _ in range(SCRAPES)]
    for bound in bounds:
        counts = accumulate(float(sum(seconds <= bound for seconds in scrape)) for scrape in took)
        yield {"__name__": "seconds_bucket", "le": "+Inf" if bound == math.inf else f"{bound:g}", **own}, list(counts)
    yield {"__name__": "seconds_sum", **own}, list(accumulate(sum(scrape) for scrape in took))
    yield {"__name__": "seconds_count", **own}, list(accumulate(float(len(scrape)) for scrape in took))


@pytest.fixture
async def several(tmp_path: Path, shared_hot_node: HotNode, second_hot_node: HotNode) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """The URLs of Prometheus, and of tael's query service over two shards and over memory, all with the same samples."""
    if not installed():
        lacking("Prometheus", "apt-get install prometheus")
    async with open_tier([shared_hot_node, second_hot_node]) as tier:
        stored, memory = StoredSeries(tier), MemorySeries()
        for labels, values in samples():
            stored.add(labels, values, tenant=DEFAULT_TENANT)
            memory.add(labels, values, tenant=DEFAULT_TENANT)
        await stored.flush()
        with Prometheus(tmp_path / "prometheus") as prometheus:
            await asyncio.to_thread(prometheus.write, samples())
            async with serving(MemorySpans(), series=stored.reader) as pushing, serving(MemorySpans(), series=memory) as evaluating:
                yield prometheus.url, {"pushed down": pushing.url, "evaluated here": evaluating.url}


@pytest.mark.timeout(1800)
async def test_answers_are_those_of_prometheus(several: tuple[str, dict[str, str]]) -> None:
    """Within 1e-5, sample by sample and label by label; an error here is an error there.

    Whether shards evaluate what they can, or everything is evaluated over their samples.
    """
    prometheus, tael = several
    loop, turns = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)
    differing: dict[str, str] = {}
    excused: set[str] = set()
    asked = 0

    async def compare(expression: str, path: str, **parameters: object) -> None:
        nonlocal asked
        async with turns:
            asked_of = [(prometheus, renamed(expression)), *((url, expression) for url in tael.values())]
            theirs, *ours = await asyncio.gather(
                *(loop.run_in_executor(threads, partial(ask, url, path, query=query, **parameters)) for url, query in asked_of)
            )
        asked += 1
        for how, (answer, _) in zip(tael, ours, strict=True):
            difference = differ(theirs[0], answer)
            if difference and expression in EXCUSED:
                excused.add(expression)
            elif difference:
                differing.setdefault(expression, f"{how}, {path} {parameters}: {difference}")

    # Threads of their own: those of the loop are the query service's, which runs in it.
    with ThreadPoolExecutor(AT_ONCE * 3) as threads:
        async with asyncio.TaskGroup() as group:
            for index, expression in enumerate(dict.fromkeys(expressions())):
                group.create_task(compare(expression, "query", time=AT[index % len(AT)]))
                group.create_task(compare(expression, "query_range", **RANGE))
    assert asked > 1900
    assert excused == set(EXCUSED), "what no longer differs needs no excuse"
    assert not differing, f"{len(differing)} of {asked}:\n" + "\n".join(f"{expression}\n    {how}" for expression, how in differing.items())


def renamed(expression: str) -> str:
    """With the names that functions had in 2.42."""
    return expression.replace("double_exponential_smoothing", "holt_winters")


def differ(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """How two answers differ; empty where they do not."""
    if theirs["status"] != ours["status"]:
        return f"theirs {str(theirs)[:300]}\n    ours {str(ours)[:300]}"
    if theirs["status"] == "error":
        return "" if theirs["errorType"] == ours["errorType"] else f"theirs {theirs}\n    ours {ours}"
    their, our = theirs["data"], ours["data"]
    if their["resultType"] != our["resultType"]:
        return f"theirs is a {their['resultType']}, ours a {our['resultType']}"
    if their["resultType"] in ("scalar", "string"):
        return "" if same([their["result"]], [our["result"]]) else f"theirs {their['result']}, ours {our['result']}"
    there, here = (by_labels(data["result"]) for data in (their, our))
    if there.keys() != here.keys():
        return f"only theirs: {sorted(there.keys() - here.keys())[:3]}, only ours: {sorted(here.keys() - there.keys())[:3]}"
    wrong = [labels for labels in there if not same(there[labels], here[labels])]
    return (
        f"{len(wrong)} of {len(there)} series; {wrong[0]}:\n    theirs {there[wrong[0]][:4]}\n    ours {here[wrong[0]][:4]}"
        if wrong
        else ""
    )


def by_labels(result: list[dict[str, Any]]) -> dict[tuple[tuple[str, str], ...], list[list[Any]]]:
    return {tuple(sorted(series["metric"].items())): series.get("values") or [series["value"]] for series in result}


def same(theirs: list[list[Any]], ours: list[list[Any]]) -> bool:
    """Whether samples are at the same times and nearly the same."""
    return len(theirs) == len(ours) and all(a[0] == b[0] and close(a[1], b[1]) for a, b in zip(theirs, ours, strict=True))


def close(theirs: str, ours: str) -> bool:
    """Equal as text, or within 1e-5 as numbers."""
    if theirs == ours:
        return True
    try:
        return math.isclose(float(theirs), float(ours), rel_tol=1e-5, abs_tol=1e-12)
    except ValueError:
        return False
