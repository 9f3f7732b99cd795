"""What a store is asked of a trace: too much may pass, never too little."""

from __future__ import annotations

import pytest

from tael.traceql.ast import Filter
from tael.traceql.needs import MOST_CONDITIONS, MOST_TESTS, AllOf, HasSpan, first_conditions, trace_test
from tael.traceql.parse import parse


def spansets(count: int) -> str:
    return " && ".join(f"{{ span.k{number} = 1 }}" for number in range(count))


@pytest.mark.parametrize("count", [MOST_TESTS + 1, 40])
def test_the_first_of_very_many_spansets_are_tested(count: int) -> None:
    tested = trace_test(parse(spansets(count)).pipeline)
    assert isinstance(tested, AllOf)
    assert list(tested.parts) == [trace_test(parse(f"{{ span.k{number} = 1 }}").pipeline) for number in range(MOST_TESTS)]


def test_the_first_of_very_many_conditions_are_tested() -> None:
    conditions = [f"span.k{number} = 1" for number in range(MOST_CONDITIONS + 5)]
    many, few = (trace_test(parse(f"{{ {' && '.join(some)} }}").pipeline) for some in (conditions, conditions[:MOST_CONDITIONS]))
    assert isinstance(many, HasSpan)
    assert many == few


def test_conditions_of_which_one_is_enough_are_all_tested() -> None:
    """To leave out one of these would be too little."""
    (stage,) = parse(f"{{ {' || '.join(f'span.k{number} = 1' for number in range(40))} }}").pipeline.stages
    assert isinstance(stage, Filter)
    assert first_conditions(stage.expression) is stage.expression
