"""Bounds of a LogQL query: a query beyond one fails alone, with a message that tells what to change."""

from __future__ import annotations

from typing import Any

import pytest

from tael.errors import Rejected, TooLarge
from tael.logql.evaluate import evaluate, leaves
from tael.logql.functions import of_samples
from tael.logql.parse import parse
from tael.logql.pipeline import Pipeline
from tael.logql.row import Row
from tael.logql.samples import Bounds, Extraction, Room
from tael.vectors.values import Steps


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


def test_the_leaves_of_a_query_share_their_room() -> None:
    room = Room(20)
    room.take(12)
    with pytest.raises(TooLarge, match="more than 20 values"):
        room.take(9)


@pytest.mark.parametrize(
    ("query", "most"),
    [
        ("{count}", 100),
        ("{count} * 2", 110),
        ("sum({count})", 10),
        # The left operand, of 10 series by 10 steps, is held while the right one is computed.
        ("{count} + (sum({count}) * 2)", 120),
        ('{count} or label_replace({count}, "m", "$1", "n", "(.*)")', 200),
    ],
)
def test_values_that_are_held_at_once_are_bounded(query: str, most: int) -> None:
    expr: Any = parse(query.replace("{count}", 'count_over_time({app="a"} | logfmt [1m])'))
    steps = Steps(0, 9, 1)
    found = {}
    for leaf in leaves(expr):
        extraction = Extraction(leaf, Bounds())
        extraction.add(Row(number, f"n={number}", {"app": "a"}, {}, extraction.hints) for number in range(10))
        found[leaf] = of_samples(leaf.aggregation, extraction.samples(), steps)
    evaluate(expr, steps, found, most=most)
    with pytest.raises(TooLarge, match=f"more than {most - 1} values"):
        evaluate(expr, steps, found, most=most - 1)


@pytest.mark.parametrize("query", ["(" * 300 + "vector(1)" + ")" * 300, '{a="b"} | ' + "(" * 300 + "x>1" + ")" * 300])
def test_deep_nesting_is_refused(query: str) -> None:
    with pytest.raises(Rejected, match="nested more than 200 deep"):
        parse(query)


def test_a_long_query_is_refused() -> None:
    with pytest.raises(Rejected, match="input size too long"):
        parse('{a="' + "b" * 140_000 + '"}')


LONG = '{{$a := repeat 1000000 "a"}}'


@pytest.mark.parametrize(
    "template",
    [
        '{{repeat 2000000 "a"}}',
        '{{range $i, $x := (fromJson "[1]")}}{{repeat 1000000 "a"}}{{repeat 1000000 "a"}}{{end}}',
        "{{alignLeft 4000000000 .a}}",
        "{{alignRight 4000000000 .a | trunc 1}}",
        '{{printf "%900000s%900000s" .a .a}}',
        LONG + '{{Replace $a "a" $a -1 | trunc 1}}',
        LONG + '{{replace "a" $a $a | trunc 1}}',
        LONG + '{{regexReplaceAll "a" $a $a | trunc 1}}',
        LONG + "{{print" + " $a" * 4000 + " | trunc 1}}",
        LONG + "{{println" + " $a" * 4000 + " | trunc 1}}",
        LONG + '{{printf ""' + " $a" * 4000 + " | trunc 1}}",
        LONG + r'{{indent 1000 (Replace $a "a" "\n" -1) | trunc 1}}',
        '{{$a := "aaaa"}}{{range 60}}{{$a = print $a $a}}{{end}}',
        r'{{$a := "\\"}}{{range 60}}{{$a = js $a}}{{end}}',
        "{{range 1000000}}{{range 1000000}}{{end}}{{end}}",
        '{{range 1000000}}{{$a := repeat 100000 "a"}}{{end}}',
        '{{fromJson (printf "%s%s" (repeat 900 "[") (repeat 900 "]"))}}',
    ],
)
def test_templates_are_bounded_in_output_and_work(template: str) -> None:
    """The line is kept and marked with the error."""
    query: Any = parse(f'{{a="b"}} | line_format `{template}`')
    row = Row(1, "line", {"a": "b"}, {})
    assert Pipeline(query.stages).keeps(row)
    assert (row.line, row.error) == ("line", "TemplateFormatErr")


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("{{.x | ToUpper | trunc 3}}", "XXX"),
        ('{{Replace .x "x" "" -1}}nothing', "nothing"),
        ('{{printf "%1000001s and more" .a}}', "%!(NOVERB)%!(EXTRA string=b)"),
        ('{{fromJson (repeat 100000 "[")}}', "<no value>"),
        ("{{divf 1790000000123456789 1000000 | int}}", "1790000000123"),
    ],
)
def test_received_lines_may_exceed_the_bound_of_made_ones(template: str, line: str) -> None:
    """A long line can be cut; formats that Go refuses are refused, and a quotient has as many digits as there are."""
    query: Any = parse(f'{{a="b"}} | line_format `{template}`')
    row = Row(1, "line", {"a": "b", "x": "x" * 3_000_000}, {})
    assert Pipeline(query.stages).keeps(row)
    assert (row.line, row.error) == (line, "")
