"""TraceQL over one small set of spans: what parses, what is refused and how, and what each query finds."""

from __future__ import annotations

import numpy as np
import pytest

from tael.errors import Rejected
from tael.traceql.ast import MetricsAggregate, Named, Static, TopK, Type
from tael.traceql.metrics import Accumulator, Grid, Series, second_stages
from tael.traceql.needs import fields
from tael.traceql.parse import parse
from tael.traceql.results import FoundSpan, find
from tael.traceql.shown import Value
from tael.traceql.spansets import run
from tael.traceql.text import show
from tests.support.traceql import block_of
from tests.support.traceql_cases import SPANS, START, lines, pairs


@pytest.mark.parametrize("query", lines("valid.txt"))
def test_valid(query: str) -> None:
    """Queries that parse."""
    parse(query)


@pytest.mark.parametrize(("query", "message"), pairs("refused.txt"))
def test_refused(query: str, message: str) -> None:
    """Queries that are refused say what is wrong and where."""
    with pytest.raises(Rejected) as refused:
        parse(query)
    assert refused.value.reason == message


@pytest.mark.parametrize(("query", "expected"), pairs("evaluated.txt"))
def test_evaluated(query: str, expected: str) -> None:
    """What is left of each trace."""
    parsed = parse(query)
    ordered = sorted(SPANS, key=lambda one: (one.trace_id, one.start_ns, one.span_id))
    spansets = run(parsed.pipeline, block_of(SPANS, list(fields(parsed))))
    assert " | ".join(", ".join(ordered[row].name for row in spanset.rows) for spanset in spansets) == expected


def _value(value: Value) -> str:
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, list) else show(value)


def _fields(span: FoundSpan) -> str:
    def word(item: tuple[Named, Value]) -> str:
        return f"{show(item[0])}={_value(item[1])}"

    return "; ".join(sorted(map(word, span.fields.items()))) or "-"


@pytest.mark.parametrize(("query", "expected"), pairs("shown.txt"))
def test_shown(query: str, expected: str) -> None:
    """What an answer shows of the spans that are left: the fields that the query names, where what it asks of them holds."""
    parsed = parse(query)
    found = find(parsed.pipeline, block_of(SPANS, list(fields(parsed))), START, START + 10**12, 0)
    spans = [span for trace in sorted(found, key=lambda trace: trace.trace_id) for part in trace.spansets for span in part.spans]
    assert " | ".join(map(_fields, spans)) == expected


def _tied(op: str, *values: str | float) -> list[object]:
    """Which of series with equal samples, each told by one label, is kept."""
    kinds = {str: Type.STRING, float: Type.FLOAT}
    series = [Series((("a", Static(kinds[type(value)], value)),), np.ones(1)) for value in values]
    return [label.value for one in second_stages([TopK(op, 1)], series) for _, label in one.labels if label is not None]


def test_of_equal_samples_one_is_kept_by_its_labels() -> None:
    """As Tempo chooses: the first text or the largest number of the largest, the last or the smallest of the smallest."""
    assert (_tied("topk", "b", "a", "c"), _tied("bottomk", "b", "a", "c")) == (["a"], ["c"])
    assert (_tied("topk", 2.0, 4.0, 1.0), _tied("bottomk", 2.0, 4.0, 1.0)) == ([4.0], [1.0])


def test_labels_that_are_nil_are_left_out_but_for_the_only_one() -> None:
    """A series of several groups has the labels of those that are not nil."""
    parsed = parse("{ } | count_over_time() by (span.nope, span.cached, span.none)")
    assert isinstance(parsed.metrics, MetricsAggregate)
    into = Accumulator(parsed.metrics, Grid.instant(START, START + 10**12), max_series=10)
    spans = block_of(SPANS, list(fields(parsed)))
    into.add(spans, np.ones(spans.size, dtype=bool))
    assert [[name for name, _ in one.labels] for one in into.series()] == [["span.cached"], ["span.cached"], ["span.nope"]]


def test_quantiles_of_values_that_are_in_no_bucket_have_no_series() -> None:
    """Values below 2 are counted in no bucket."""
    parsed = parse("{ } | quantile_over_time(span.size, 0.5)")
    assert isinstance(parsed.metrics, MetricsAggregate)
    into = Accumulator(parsed.metrics, Grid.instant(START, START + 10**12), max_series=10)
    spans = block_of(SPANS, list(fields(parsed)))
    into.add(spans, np.zeros(spans.size, dtype=bool))
    assert into.series() == []
