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
from tests.support.promql_random import Maker
from tests.support.query import serving
from tests.support.series import MemorySeries, StoredSeries
from tests.support.storage import open_tier

T0 = 1_790_002_800
"""Seconds; samples are 137 ms and more off whole seconds, questions are at 7 s past a minute."""
SCRAPE_MS = 15_000
SCRAPES = 240
AT_ONCE = 4
SEED, MADE = 7, 200
"""How many expressions are made at random, and from what."""
AT = (T0 + 1_507, T0 + 2_407, T0 + 3_787)
RANGE = {"start": T0 + 1_507, "end": T0 + 4_407, "step": 100}
"""Windows begin after the first samples: since 2.53 rates are otherwise carried on towards the start of a counter by another rule."""

GAUGES = ("temperature", 'temperature{room!="attic"}', 'temperature{room=~"k.*|bath"}', "sparse", "odd")
COUNTERS = ("requests_total", 'requests_total{code="500"}', 'requests_total{code=~"5..|200",job!~"x"}', "sparse_total")
WINDOWS = ("1m", "17m")

OVER_TIME = (
    "avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "last_over_time", "present_over_time",
    "stddev_over_time", "stdvar_over_time", "changes", "resets", "deriv", "delta", "idelta", "absent_over_time",
)  # fmt: skip
OF_COUNTERS = ("rate", "increase", "irate", "resets", "changes")
OF_ONE = (
    "abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sgn", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh", "deg", "rad", "timestamp", "sort", "sort_desc", "absent", "scalar", "histogram_count", "histogram_sum", "-", "+",
)  # fmt: skip
OF_CALENDAR = ("day_of_week", "day_of_month", "day_of_year", "days_in_month", "hour", "minute", "month", "year")
AGGREGATIONS = (
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "group",
    "stddev",
    "stdvar",
    "topk(2, ",
    "bottomk(2, ",
    "quantile(0.7, ",
    'count_values("v", ',
)
BY = ("", "by (job)", "without (job)", "by (code, absent)", "without (instance, code)")
OPERATORS = (
    "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=", "== bool", "!= bool", "> bool", "< bool", ">= bool", "<= bool",
)  # fmt: skip
MATCHED = (
    ('requests_total{code="500"}', "on (job, instance)", "build_info"),
    ('requests_total{code="500"}', "ignoring (code)", 'requests_total{code="200"}'),
    ("requests_total", "on (job, instance) group_left ()", "build_info"),
    ("requests_total", "ignoring (code, version) group_left (version)", "build_info"),
    ("build_info", "on (job, instance) group_right ()", "requests_total"),
    ("build_info", "ignoring (code, version) group_right (version)", "requests_total"),
    ("sum by (room) (temperature)", "", "sum by (room) (sparse)"),
    ("requests_total", "on (job)", "build_info"),
)
"""Both sides of a match, and how they meet; the last one does not."""
SET_MATCHED = (
    ("requests_total", "", "rate(requests_total[5m])"),
    ("requests_total", "on (job)", 'build_info{version="2"}'),
    ("requests_total", "on ()", "sparse"),
    ("temperature", "ignoring (room)", "sparse"),
    ("sparse", "", "temperature"),
)
MODIFIED = ("offset 4m", "offset -4m", "@ 1790004007", "@ start()", "@ end() offset 90s")

SINGLE = """
1 + 2 * 3 ^ 2 % 4
-2 ^ 2
Inf - Inf
NaN == bool NaN
time()
vector(time()) - timestamp(temperature)
pi()
"text"
temperature offset 5m
temperature offset -3m
temperature @ 1790004007
temperature @ end()
rate(requests_total[5m] @ start())
sum(requests_total @ 1790004007) by (job) + sum(requests_total) by (job)
requests_total / on (job, instance) group_left () build_info
requests_total * on (job, instance) group_left (version) build_info
build_info * on (job, instance) group_right () requests_total
sum by (job) (rate(requests_total{code="500"}[5m])) / sum by (job) (rate(requests_total[5m]))
requests_total{code="500"} / ignoring (code) requests_total{code="200"}
temperature and temperature{room="kitchen"}
temperature or sparse
temperature unless temperature > 20
requests_total and on (job) build_info
requests_total unless on (job, instance) build_info{version="2"}
temperature > 20 < 23
temperature * 0 + 1 == 1
clamp(temperature, 19, 21)
clamp_min(temperature, 20)
clamp_max(temperature, 20)
round(temperature)
round(temperature, 0.3)
round(temperature, -5)
label_replace(requests_total, "copy", "$1-$2", "instance", "(.*):(.*)")
label_replace(requests_total, "job", "", "job", ".*")
label_replace(temperature, "x", "$9y", "room", "(k)?.*")
label_join(requests_total, "both", "/", "job", "code", "absent")
histogram_quantile(0.9, rate(seconds_bucket[5m]))
histogram_quantile(0.5, sum by (le, job) (rate(seconds_bucket[5m])))
histogram_quantile(0, seconds_bucket)
histogram_quantile(1, seconds_bucket)
histogram_quantile(-1, seconds_bucket)
histogram_quantile(2, seconds_bucket)
histogram_quantile(scalar(vector(0.3)), seconds_bucket)
rate(seconds_sum[5m]) / rate(seconds_count[5m])
predict_linear(temperature[10m], 3600)
predict_linear(temperature[10m] offset 2m, -60)
predict_linear(requests_total[5m], 0)
predict_linear(temperature[20m:50s], 600)
requests_total > on (job) sum by (job) (requests_total)
requests_total < on (job) sum by (job) (requests_total)
requests_total == on (job) max by (job) (requests_total)
requests_total > bool on (job) sum by (job) (requests_total)
requests_total > on (job) group_left () (sum by (job) (requests_total) / 7)
build_info == on (job) group_right (instance) requests_total
requests_total > on (code) group_left (version) (0 * group by (code) (requests_total))
predict_linear(temperature[10m] @ 1790004007, 60)
timestamp(abs(temperature @ 1790004007))
timestamp(temperature @ 1790004007)
timestamp(sum(temperature offset 3m))
-(temperature > 20) or temperature
temperature or -temperature
(temperature > 20) + 1 or temperature
abs(temperature < 20) or rate(temperature[5m]) or sparse
sum(-(temperature > 20) or temperature)
double_exponential_smoothing(temperature[20m:50s], 0.5, 0.1)
double_exponential_smoothing(odd[10m], 0.5, 0.1)
double_exponential_smoothing(temperature[10m], 1, 0.6)
quantile_over_time(0.5, odd[10m])
quantile_over_time(0.3, requests_total[20m:50s])
histogram_fraction(0, 1, seconds_bucket)
histogram_quantile(0.9, sum by (le) (rate(seconds_bucket[5m])))
histogram_quantile(0.9, seconds_bucket{le!="+Inf"})
histogram_quantile(0.9, seconds_bucket{le!~"0.1|0.5"})
histogram_quantile(NaN, seconds_bucket)
histogram_quantile(0.9, temperature)
histogram_quantile(0.5, sum without (instance) (increase(seconds_bucket[17m])))
double_exponential_smoothing(temperature[10m], 0.3, 0.6)
quantile_over_time(0.9, temperature[10m])
quantile_over_time(-1, temperature[10m])
max_over_time(rate(requests_total[5m])[20m:1m])
avg_over_time(temperature[20m:90s])
min_over_time((temperature > 20)[15m:30s] offset 1m)
sum_over_time(sum by (job) (requests_total)[10m:])
rate(sum_over_time(temperature[5m])[20m:1m])
last_over_time(temperature[1h:7m] @ 1790004007)
absent(nothing_of_that_name{job="a", x=~"y"})
absent(sum(nothing_of_that_name))
absent_over_time(nothing_of_that_name{job="a"}[5m])
scalar(temperature{room="kitchen"})
scalar(nothing_of_that_name)
vector(scalar(temperature{room="kitchen"})) + 1
sum(nothing_of_that_name)
count(temperature) > bool 2
topk(scalar(count(build_info)), temperature)
quantile(1.5, temperature)
quantile(-0.1, temperature)
{__name__=~"temp.*|sparse"}
{__name__="temperature", room=""}
{job="api", code!="200"}
sum({__name__=~".*_total"}) by (__name__)
count by (__name__) ({job=~".+"})
temperature{room=~"Kitchen"}
temperature{room=~"(?i:KITCHEN)"}
rate(temperature[1s])
increase(requests_total[15s])
irate(requests_total[31s])
sum(rate(requests_total[5m])) > 0 and vector(1)
(temperature + sparse) or temperature
temperature == on () group_left () max(temperature)
-temperature + -(-sparse)
sort_desc(sum by (job) (requests_total))
sum without (code) (rate(requests_total[5m])) / ignoring (version) group_left () (0 * build_info + 1)
day_of_year(temperature)
minute(vector(1790004007))
ceil(seconds_sum / seconds_count * 1000)
changes(requests_total[5m:15s])
deriv(temperature[10m:20s])
stddev by (job) (rate(requests_total[5m]))
avg(odd)
sum(odd)
min(odd)
max(odd)
odd > 0
topk(1, odd)
count_values("v", round(temperature))
temperature{
sum(temperature
rate(temperature)
temperature[5m]
foo bar
sum_over_time(temperature)
label_replace(temperature, "a", "b", "c", "(")
temperature + on (room) group_left () sum by (room) (sparse) + ignoring (x)
requests_total + on (job) requests_total
clamp(temperature, 5, 1)
""".strip().splitlines()

_UNDEFINED = "what Go makes of a NaN as a time is undefined, and differs between processors; here it is NaN"
_ATAN2 = "before 3.0 atan2 kept the metric's name, unlike every other operator"
EXCUSED = {
    **{f"{function}(odd)": _UNDEFINED for function in OF_CALENDAR},
    **{f"temperature atan2 {other}": _ATAN2 for other in ("20", "temperature", "sparse", "scalar(sparse)")},
    "20 atan2 temperature": _ATAN2,
    **{f"{left} atan2 {how} {right}": _ATAN2 for left, how, right in MATCHED if "group" in how or "ignoring" in how},
    "predict_linear(temperature[10m] @ 1790004007, 60)": "2.42 moves the window on with the steps all the same",
    "histogram_fraction(0, 1, seconds_bucket)": "before 3.0 it took native histograms alone",
}
"""Expressions that differ from 2.42's, with the reason."""


def expressions() -> Iterator[str]:
    """All that are asked, each once."""
    yield from (f"{function}({gauge}[{window}])" for function, gauge, window in product(OVER_TIME, GAUGES, WINDOWS))
    yield from (f"{function}({counter}[{window}])" for function, counter, window in product(OF_COUNTERS, COUNTERS, WINDOWS))
    yield from (f"{function}({gauge})" for function, gauge in product((*OF_ONE, *OF_CALENDAR), GAUGES[:1] + GAUGES[3:]))
    yield from (f"{function}()" for function in OF_CALENDAR)
    for aggregation, by in product(AGGREGATIONS, BY):
        operation, _, argument = aggregation.partition("(")
        yield f"{operation} {by} ({argument}requests_total)"
    yield from (
        f"temperature {operator} {other}" for operator, other in product(OPERATORS, ("20", "temperature", "sparse", "scalar(sparse)"))
    )
    yield from (f"20 {operator} temperature" for operator in OPERATORS)
    yield from (f"7 {operator} 20" for operator in OPERATORS if operator[0] not in "=!<>" or "bool" in operator)
    yield from (f"{left} {operator} {how} {right}" for operator, (left, how, right) in product(OPERATORS, MATCHED))
    yield from (f"{left} {operator} {how} {right}" for operator, (left, how, right) in product(("and", "or", "unless"), SET_MATCHED))
    yield from (f"{function}(temperature[20m:50s])" for function in OVER_TIME)
    yield from (f"{function}(requests_total[20m:50s])" for function in OF_COUNTERS)
    yield from (f"temperature {modifier}" for modifier in MODIFIED)
    yield from (f"{function}(requests_total[5m] {modifier})" for function, modifier in product(("rate", "max_over_time"), MODIFIED))
    yield from (f"max_over_time(sum by (job) (rate(requests_total[5m]))[15m:50s] {modifier})" for modifier in MODIFIED)
    yield from SINGLE
    maker = Maker(random.Random(SEED))
    yield from (maker.vector(3) for _ in range(MADE))


NEWER = {"histogram_avg", "histogram_stddev", "histogram_stdvar", "</", ">/"}
"""Functions and operators that 2.42 does not know, and that are no experiments."""


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


@pytest.mark.timeout(900)
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
