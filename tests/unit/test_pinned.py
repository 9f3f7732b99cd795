"""The attributes whose value a search tells."""

from __future__ import annotations

import pytest

from tael.traceql.needs import MOST_CONDITIONS
from tael.traceql.parse import parse
from tael.traceql.pinned import pinned
from tael.traceql.text import show


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ('{ span.a = "x" }', ["span.a"]),
        ('{ "x" = resource.a && duration > 1s && span.b = true } | select(span.c)', ["resource.a", "span.b"]),
        ('{ span.a = "x" } | { span.b = "y" }', ["span.a", "span.b"]),
        ('{ span.a = "x" || span.b = "y" }', []),
        ('{ span.a != "x" && span.b =~ "y" && span.c = 1 && .d = "z" }', []),
        ('{ resource.service.name = "shop" && span.a = "x" }', ["span.a"]),
        ('{ span.a = "x" } >> { span.b = "y" }', []),
        ('{ span.a = "x" } | count() > 1', []),
        ('{ span.a = "x" && event:name = "e" }', []),
        ('{ span.a = "x" && rootName = "r" }', []),
        ('{ span.a = "x" && span.b = span.c }', []),
        ('{ span.a = "x"' + "".join(f" && span.b > {number}" for number in range(MOST_CONDITIONS)) + " }", []),
    ],
)
def test_what_is_pinned(query: str, values: list[str]) -> None:
    """Not a number, a name without a scope, a service, nor where a span's trace, its events or what shards do not test decide."""
    assert sorted(show(named) for named in pinned(parse(query))) == values
