"""The parser's corpus formatted by a real Prometheus: the same text, or the same refusal, for everything that it knows as well."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tael.promql.errors import ParseError
from tael.promql.parse import parse
from tael.promql.print import pretty
from tests.support import prometheus
from tests.unit.test_promql_parse import PARSED, REFUSED

SINCE = re.compile(
    r"anchored|smoothed|fill|</|max_of|step\(|info|1_000|'y z'|\"c\.d\"|\"m\.n\"|\d\]|\* 2\]|offset -5$|offset -step|^1h30m$|^1m|^$|@ end\(\) offset -5"
    r"|1m / 0|\[300y|5hs|\[x\]|\[5m x|\[:1m|1m:\]$|:1m:|5m 5m|offset$|a\[$|a\[5m$|~\"\[|-\.5e3|\{\"|x\['$"
)
"""What Debian's Prometheus, of 2023, parses, prints or refuses in another way than version 3: numbers as durations and durations as
numbers, names of any text, modifiers and functions that came since, numbers with exponents; and its words for what is wrong in brackets and
for no expression at all."""


def ours(query: str) -> str:
    """The text in lines, or the refusal."""
    try:
        return pretty(parse(query))
    except ParseError as problem:
        return str(problem)


def theirs(url: str, query: str) -> str:
    """The same of a real one."""
    answer, _ = prometheus.ask(url, "format_query", query=query)
    text: str = answer["data"] if answer["status"] == "success" else answer["error"]
    return text.removeprefix('invalid parameter "query": ')


@pytest.mark.skipif(
    not prometheus.installed() and os.environ.get("TAEL_REQUIRE_PEERS") != "1", reason="prometheus (Debian's package) is not installed"
)
def test_a_real_prometheus_formats_and_refuses_alike(tmp_path: Path) -> None:
    queries = [query for query in (*PARSED, *REFUSED) if not SINCE.search(query)]
    assert len(queries) > 70
    with prometheus.Prometheus(tmp_path) as real:
        different = [(query, theirs(real.url, query), ours(query)) for query in queries]
    assert [found for found in different if found[1] != found[2]] == []
