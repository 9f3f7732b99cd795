"""The bounds of a LogQL query: a query beyond one fails alone, with words that say what to change."""

from __future__ import annotations

from typing import Any

import pytest

from tael.errors import Rejected, TooLarge
from tael.logql.evaluate import leaves
from tael.logql.parse import parse
from tael.logql.pipeline import Pipeline
from tael.logql.row import Row
from tael.logql.samples import Bounds, Extraction


def extract(query: str, bounds: Bounds, rows: int) -> Any:
    [leaf] = leaves(parse(query))
    extraction = Extraction(leaf, bounds)
    for start in range(0, rows, 10):
        extraction.add(Row(number, f"n={number}", {"app": "a"}, {}, extraction.hints) for number in range(start, min(start + 10, rows)))
    return extraction.samples()


def test_samples_of_many_pages_are_in_order() -> None:
    samples = extract('sum(count_over_time({app="a"}[1m]))', Bounds(), 35)
    assert samples.times_ms.tolist() == list(range(35))
    assert samples.labels == [()]


def test_too_many_series() -> None:
    with pytest.raises(Rejected, match=r"maximum number of series \(20\) reached for a single query"):
        extract('count_over_time({app="a"} | logfmt [1m])', Bounds(series=20), 30)


def test_too_many_samples() -> None:
    with pytest.raises(TooLarge, match="reads more than 20 samples"):
        extract('count_over_time({app="a"}[1m])', Bounds(samples=20), 30)


@pytest.mark.parametrize("query", ["(" * 300 + "vector(1)" + ")" * 300, '{a="b"} | ' + "(" * 300 + "x>1" + ")" * 300])
def test_deep_nesting_is_refused(query: str) -> None:
    with pytest.raises(Rejected, match="nested more than 200 deep"):
        parse(query)


def test_a_long_query_is_refused() -> None:
    with pytest.raises(Rejected, match="input size too long"):
        parse('{a="' + "b" * 140_000 + '"}')


@pytest.mark.parametrize(
    "template", ['{{repeat 2000000 "a"}}', '{{range $i, $x := (fromJson "[1]")}}{{repeat 1000000 "a"}}{{repeat 1000000 "a"}}{{end}}']
)
def test_a_template_cannot_make_a_line_of_any_size(template: str) -> None:
    """The line stays, marked with the error."""
    query: Any = parse(f'{{a="b"}} | line_format `{template}`')
    row = Row(1, "line", {"a": "b"}, {})
    assert Pipeline(query.stages).keeps(row)
    assert (row.line, row.error) == ("line", "TemplateFormatErr")
