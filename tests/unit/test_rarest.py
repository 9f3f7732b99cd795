"""The order in which the tests of a trace are made."""

from __future__ import annotations

from tael.model import predicate as p
from tael.storage.clickhouse.traceql.rarest import rarest_first
from tael.traceql.needs import AllOf, AnyOf, HasSpan

ONE, TWO, THREE = (HasSpan(p.Compare(p.intrinsic("name"), "=", name)) for name in ("one", "two", "three"))


def test_the_rarest_of_all_comes_first() -> None:
    """What is as frequent stays in its order; alternatives are as frequent as their sum."""
    assert rarest_first(AllOf((ONE, TWO, THREE)), (5, 2, 5)) == (AllOf((TWO, ONE, THREE)), 2)
    assert rarest_first(AllOf((AnyOf((ONE, TWO)), THREE)), (3, 3, 4)) == (AllOf((THREE, AnyOf((ONE, TWO)))), 4)
    assert rarest_first(AnyOf((ONE, AllOf((TWO, THREE)))), (1, 9, 7)) == (AnyOf((ONE, AllOf((THREE, TWO)))), 8)
    assert rarest_first(TWO, (4,)) == (TWO, 4)
