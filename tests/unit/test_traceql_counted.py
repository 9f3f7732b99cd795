"""Which pipelines are counted by statements, and whose limits hold of more spans if they hold of some."""

from __future__ import annotations

import pytest

from tael.model import predicate as p
from tael.traceql.counted import Counted, Limit, counted
from tael.traceql.parse import parse

ERROR = p.Compare(p.intrinsic("status"), "=", 2)
CLIENT = p.Compare(p.intrinsic("kind"), "=", 3)


def test_filters_on_both_sides_of_the_limits() -> None:
    """Those before them say what is counted, all what is kept."""
    found = counted(parse("{ status = error } | select(name) | count() > 2 | max(duration) < 1.5s | { kind = client }").pipeline)
    assert found == Counted(ERROR, p.all_of((ERROR, CLIENT)), (Limit("count", ">", 2), Limit("max", "<", 1_500_000_000)))


@pytest.mark.parametrize(
    "text",
    [
        "{ status = error }",
        "{ } >> { } | count() > 2",
        "{ } | by(name) | count() > 2",
        "{ } | sum(span.size) > 2",
        "{ } | count() > 2 | { } >> { }",
        "{ } | count() > 2 | { } | count() > 3",
        '{ rootName = "a" } | count() > 2',
        "{ event.a = 1 && event.b = 2 } | count() > 2",
    ],
)
def test_what_needs_the_trace_is_not(text: str) -> None:
    """Its structure, groups, values that may have several types, and what a single span does not tell."""
    assert counted(parse(text).pipeline) is None


@pytest.mark.parametrize(
    ("limits", "growing"),
    [
        ("count() > 2", True),
        ("count() >= 2 | sum(duration) > 1s | max(duration) >= 1s | min(duration) < 1s", True),
        ("count() = 2", False),
        ("count() > 2 | count() < 4", False),
        ("avg(duration) > 1s", False),
        ("min(duration) > 1s", False),
    ],
)
def test_limits_that_hold_of_more_spans(limits: str, growing: bool) -> None:
    """Spans that are added never make a larger count smaller, but they may change an average either way."""
    found = counted(parse(f"{{ status = error }} | {limits}").pipeline)
    assert found is not None
    assert found.is_growing == growing
