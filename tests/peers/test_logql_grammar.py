"""Grafana's own LogQL grammar takes the queries that tael takes, and refuses what tael refuses where the fault is one of syntax."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.golden.test_logql import pairs
from tests.peers.conftest import NODE, NODE_PROGRAMS

NOT_IN_THE_GRAMMAR = {
    '{a="b"} | x="1" y="2"': "filters side by side",
    'SUM(RATE({a="b"}[1m])) BY (c)': "keywords in capitals",
    'rate({a="b"}[1m]) / on (c) group_left (rate({a="b"}[1m]))': "an operand in parentheses behind group_left",
    "0x1Fp0": "hexadecimal floats",
    "0x1.8p3": "hexadecimal floats",
}
"""Loki's parser takes these."""
NOT_IN_OURS = {'{a="b"} |= "\\q"': "escapes are the lexer's business, and an editor need not know them"}


def accepted(queries: Sequence[str], packages: Path) -> list[bool]:
    program = shutil.copy(NODE_PROGRAMS / "parse_logql.mjs", packages)
    ended = subprocess.run([NODE, program], input=json.dumps(queries), capture_output=True, text=True, timeout=60, check=True)
    found: list[bool] = json.loads(ended.stdout)
    return found


def test_valid_queries_are_accepted(packages: Path) -> None:
    queries = [query.strip() for query, _ in pairs("valid.txt")]
    refused = {query for query, taken in zip(queries, accepted(queries, packages), strict=True) if not taken}
    assert refused == set(NOT_IN_THE_GRAMMAR)


def test_faults_of_syntax_are_refused(packages: Path) -> None:
    """A message with a place is about syntax; one without is about what the query means, which a grammar does not know."""
    queries = [query for query, message in pairs("refused.txt") if message.startswith("parse error at line")]
    taken = {query for query, taken in zip(queries, accepted(queries, packages), strict=True) if taken}
    assert taken == set(NOT_IN_OURS)
