"""The order in which the tests of a trace are made."""

from __future__ import annotations

from tael.model import predicate as p
from tael.storage.clickhouse.traceql.rarest import rarest_first
from tael.traceql.needs import AllOf, AnyOf, HasSpan

ONE, TWO, THREE = (HasSpan(p.Compare(p.intrinsic("name"), "=", name)) for name in ("one", "two", "three"))


def test_the_rarest_of_all_comes_first() -> None:
    """What is as frequent stays in its order; alternatives are as frequent as their sum."""
    assert rarest_first(AllOf((ONE, TWO, THREE)), (5, 2, 5), 100) == (AllOf((TWO, ONE, THREE)), 2)
    assert rarest_first(AllOf((AnyOf((ONE, TWO)), THREE)), (3, 3, 4), 100) == (AllOf((THREE, AnyOf((ONE, TWO)))), 4)
    assert rarest_first(AnyOf((ONE, AllOf((TWO, THREE)))), (1, 9, 7), 100) == (AnyOf((ONE, AllOf((THREE, TWO)))), 8)
    assert rarest_first(TWO, (4,), 100) == (TWO, 4)


def test_common_tests_are_not_made() -> None:
    """Where more than a fifth of the spans pass them, and another one is rarer."""
    assert rarest_first(AllOf((ONE, TWO, THREE)), (21, 3, 20), 100) == (AllOf((TWO, THREE)), 3)
    assert rarest_first(AllOf((ONE, TWO)), (50, 30), 100) == (TWO, 30)
    assert rarest_first(AllOf((AnyOf((ONE, TWO)), THREE)), (90, 50, 4), 100) == (THREE, 4)
