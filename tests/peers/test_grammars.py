"""Grafana's own grammars of LogQL and TraceQL, by which its editors check queries, take what tael takes, and refuse what tael refuses
where the fault is one of syntax.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.conftest import NODE, NODE_PROGRAMS
from tests.support import logql_cases, traceql_cases


@dataclass(frozen=True)
class Language:
    """Queries that tael takes, those that it refuses with what it says of each, and where a grammar differs, with the reason."""

    valid: Sequence[str]
    refused: Mapping[str, str]
    not_in_the_grammar: Mapping[str, str]
    not_in_ours: Mapping[str, str]


LANGUAGES = {
    "logql": Language(
        [query.strip() for query, _ in logql_cases.pairs("valid.txt")],
        dict(logql_cases.pairs("refused.txt")),
        # Loki's parser takes these.
        {
            '{a="b"} | x="1" y="2"': "filters side by side",
            'SUM(RATE({a="b"}[1m])) BY (c)': "keywords in capitals",
            'rate({a="b"}[1m]) / on (c) group_left (rate({a="b"}[1m]))': "an operand in parentheses behind group_left",
            "0x1Fp0": "hexadecimal floats",
            "0x1.8p3": "hexadecimal floats",
        },
        {'{a="b"} |= "\\q"': "escapes are the lexer's business, and an editor need not know them"},
    ),
    "traceql": Language(
        traceql_cases.lines("valid.txt"),
        dict(traceql_cases.pairs("refused.txt")),
        # Tempo's parser takes these.
        {
            "{ duration > 1.5s && duration <= 1h30m }": "durations of several units",
            "{ span:childCount > 2 }": "this intrinsic",
            "{ nestedSetParent < 0 && nestedSetLeft = 1 && nestedSetRight > 2 }": "the left and right of the nested set",
            "{ span.a = -7 && span.b = -0.5 && span.c = .5 }": "fractions without a digit before the point",
            "{ span.a = minInt || span.a = maxInt }": "the least and the greatest integer",
            '{ } with (span_sample=0.5, unknown="x")': "hints of which nothing is known",
            "{ } | quantile_over_time(duration, 0.5, .9, 1)": "fractions without a digit before the point",
            "{ } | rate() by (name) | bottomk(2) > 0.5": "comparisons of metrics",
            "{ } | count_over_time() by (name) >= 5 | topk(1)": "comparisons of metrics",
            "{ } | rate() != -1 with (exemplars=true)": "comparisons of metrics",
        },
        {
            "{ span.a = 9223372036854775808 }": "how large an integer may be",
            f"{{ span.a = {'1' * 4_400} }}": "how large an integer may be",
            "{ } | by(name, kind)": "that one expression is grouped by",
            "{ } | select(1)": "that attributes are selected",
            "{ } | rate() | topk(0)": "that some series are wanted",
            "({ } | count() > 1) && { }": "what pipelines in brackets are combined with",
            "{ } > ({ } | count() > 1)": "what pipelines in brackets are combined with",
        },
    ),
}


def accepted(language: str, queries: Sequence[str], packages: Path) -> set[str]:
    program = shutil.copy(NODE_PROGRAMS / "parse.mjs", packages)
    ended = subprocess.run([NODE, program, language], input=json.dumps(queries), capture_output=True, text=True, timeout=60, check=True)
    return {query for query, sound in zip(queries, json.loads(ended.stdout), strict=True) if sound}


@pytest.mark.parametrize("name", LANGUAGES)
def test_valid_queries_are_accepted(name: str, packages: Path) -> None:
    language = LANGUAGES[name]
    assert set(language.valid) - accepted(name, language.valid, packages) == set(language.not_in_the_grammar)


@pytest.mark.parametrize("name", LANGUAGES)
def test_faults_of_syntax_are_refused(name: str, packages: Path) -> None:
    """A parse error with a place is about syntax; every other refusal is about what a query means, which a grammar does not know."""
    language = LANGUAGES[name]
    queries = [query for query, message in language.refused.items() if message.startswith("parse error at line")]
    assert accepted(name, queries, packages) == set(language.not_in_ours)
