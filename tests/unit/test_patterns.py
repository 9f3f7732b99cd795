"""Patterns as they are said to ClickHouse."""

from __future__ import annotations

import pytest

from tael.model.patterns import searched, unnamed


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(?P<took_ms>[0-9]+)ms", r"([0-9]+)ms"),
        (r"a(?P<b>c(?P<d_e>f))|(?:g)(?i:h)", r"a(c(f))|(?:g)(?i:h)"),
        (r"\(?P<a>x", r"\(?P<a>x"),
        (r"\\(?P<a>x)", r"\\(x)"),
        (r"[(?P<a>](?P<b>x)", r"[(?P<a>](x)"),
        (r"[]](?P<b>x)", r"[]](x)"),
        (r"[^]\](?P<a>](?P<b>x)", r"[^]\](?P<a>](x)"),
        (r"[[:alpha:](?P<a>](?P<b>x)", r"[[:alpha:](?P<a>](x)"),
        (r"\Q(?P<a>\E(?P<b>x)", r"\Q(?P<a>\E(x)"),
    ],
)
def test_names_of_groups_alone_are_left_out(pattern: str, said: str) -> None:
    assert unnamed(pattern) == said
    searched(pattern)
    searched(said)
