"""TraceQL over one small set of spans: what parses, what is refused and how, and what each query finds."""

from __future__ import annotations

import pytest

from tael.errors import Rejected
from tael.traceql.ast import Named
from tael.traceql.needs import fields
from tael.traceql.parse import parse
from tael.traceql.results import FoundSpan, find
from tael.traceql.shown import Value
from tael.traceql.spansets import run
from tael.traceql.text import show
from tests.support.traceql import block_of
from tests.support.traceql_cases import SPANS, START, lines, pairs


@pytest.mark.parametrize("query", lines("valid.txt"))
def test_valid(query: str) -> None:
    """Queries that parse."""
    parse(query)


@pytest.mark.parametrize(("query", "message"), pairs("refused.txt"))
def test_refused(query: str, message: str) -> None:
    """Queries that are refused say what is wrong and where."""
    with pytest.raises(Rejected) as refused:
        parse(query)
    assert refused.value.reason == message


@pytest.mark.parametrize(("query", "expected"), pairs("evaluated.txt"))
def test_evaluated(query: str, expected: str) -> None:
    """What is left of each trace."""
    parsed = parse(query)
    ordered = sorted(SPANS, key=lambda one: (one.trace_id, one.start_ns, one.span_id))
    spansets = run(parsed.pipeline, block_of(SPANS, list(fields(parsed))))
    assert " | ".join(", ".join(ordered[row].name for row in spanset.rows) for spanset in spansets) == expected


def _value(value: Value) -> str:
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, list) else show(value)


def _fields(span: FoundSpan) -> str:
    def word(item: tuple[Named, Value]) -> str:
        return f"{show(item[0])}={_value(item[1])}"

    return "; ".join(sorted(map(word, span.fields.items()))) or "-"


@pytest.mark.parametrize(("query", "expected"), pairs("shown.txt"))
def test_shown(query: str, expected: str) -> None:
    """What an answer shows of the spans that are left: the fields that the query names, where what it asks of them holds."""
    parsed = parse(query)
    found = find(parsed.pipeline, block_of(SPANS, list(fields(parsed))), START, START + 10**12, 0)
    spans = [span for trace in sorted(found, key=lambda trace: trace.trace_id) for part in trace.spansets for span in part.spans]
    assert " | ".join(map(_fields, spans)) == expected
