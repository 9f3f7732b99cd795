"""Trees of expressions as JSON, every kind of node."""

from __future__ import annotations

from typing import Any

import pytest

from tael.promql.parse import parse
from tael.promql.tree import document

UNMOVED = {"offset": 0, "timestamp": None, "startOrEnd": None}
PLAIN = {**UNMOVED, "anchored": False, "smoothed": False}


def selector(name: str, *more: dict[str, str], **changes: Any) -> dict[str, Any]:
    matchers = [*more, {"name": "__name__", "value": name, "type": "="}]
    return {"type": "vectorSelector", "name": name, "matchers": matchers, **PLAIN, **changes}


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("1e3", {"type": "numberLiteral", "val": "1000"}),
        ("'x'", {"type": "stringLiteral", "val": "x"}),
        ("-(a)", {"type": "unaryExpr", "op": "-", "expr": {"type": "parenExpr", "expr": selector("a")}}),
        ("a{b!~'c'} offset 5m", selector("a", {"name": "b", "value": "c", "type": "!~"}, offset=300_000)),
        ("a @ 1.5 offset -1s", selector("a", timestamp=1500, offset=-1000)),
        ("a smoothed @ end()", selector("a", smoothed=True, startOrEnd="end")),
        ("a[5m] anchored", {**selector("a", anchored=True), "type": "matrixSelector", "range": 300_000}),
        (
            "a[1h:1m] @ start()",
            {"type": "subquery", "expr": selector("a"), "range": 3_600_000, "step": 60_000, **UNMOVED, "startOrEnd": "start"},
        ),
        ("a[1h:] offset 1s", {"type": "subquery", "expr": selector("a"), "range": 3_600_000, "step": 0, **UNMOVED, "offset": 1000}),
        (
            "topk without (b) (2, a)",
            {
                "type": "aggregation",
                "op": "topk",
                "expr": selector("a"),
                "param": {"type": "numberLiteral", "val": "2"},
                "grouping": ["b"],
                "without": True,
            },
        ),
        (
            "a > bool ignoring (x) group_right (y) b",
            {
                "type": "binaryExpr",
                "op": ">",
                "lhs": selector("a"),
                "rhs": selector("b"),
                "matching": {
                    "card": "one-to-many",
                    "labels": ["x"],
                    "on": False,
                    "include": ["y"],
                    "fillValues": {"lhs": None, "rhs": None},
                },
                "bool": True,
            },
        ),
        (
            "1 + 2",
            {
                "type": "binaryExpr",
                "op": "+",
                "lhs": {"type": "numberLiteral", "val": "1"},
                "rhs": {"type": "numberLiteral", "val": "2"},
                "matching": None,
                "bool": False,
            },
        ),
        (
            "round(a, 5)",
            {
                "type": "call",
                "func": {"name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector"},
                "args": [selector("a"), {"type": "numberLiteral", "val": "5"}],
            },
        ),
    ],
)
def test_every_kind_of_node(query: str, tree: dict[str, Any]) -> None:
    assert document(parse(query)) == tree
