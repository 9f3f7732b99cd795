"""Every metric that the code exports is in docs/operations.md with its labels, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = {"Counter": "counter", "Gauge": "gauge", "Histogram": "histogram"}
UNITS = ("_bytes", "_seconds", "_entries", "_items", "_epoch", "_parts", "_rows")
ROW = re.compile(r"^\| `(tael_\w+)(?:\{([\w, ]*)\})?` \| (\w+) \|", re.MULTILINE)


def exported() -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Name as exposed, labels and kind of every metric, from the source."""
    for path in [*(ROOT / "services").rglob("*.py"), *(ROOT / "tael").rglob("*.py")]:
        text = path.read_text()
        if '"tael_' not in text:
            continue
        tree = ast.parse(text)
        constants = {
            t.id: node.value for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and str(first.value).startswith("tael_"):
                    kind = KINDS[node.func.id]
                    name = str(first.value).removesuffix("_total") + ("_total" if kind == "counter" else "")
                    yield name, labels_of(node, constants), kind


def labels_of(call: ast.Call, constants: dict[str, ast.expr]) -> tuple[str, ...]:
    if len(call.args) < 3:
        return ()
    labels = call.args[2]
    return tuple(ast.literal_eval(constants[labels.id] if isinstance(labels, ast.Name) else labels))


def documented() -> set[tuple[str, tuple[str, ...], str]]:
    text = (ROOT / "docs" / "operations.md").read_text()
    return {(name, tuple(filter(None, labels.replace(" ", "").split(","))), kind) for name, labels, kind in ROW.findall(text)}


def test_the_table_and_the_code_have_the_same_metrics() -> None:
    assert sorted(set(exported()) - documented()) == []
    assert sorted(documented() - set(exported())) == []


def test_every_kind_of_work_that_is_set_aside_is_named() -> None:
    sources = [*(ROOT / "services" / "compactor").glob("*.py"), ROOT / "tael" / "cold" / "plan.py"]
    kinds = {kind for path in sources for kind in re.findall(r'\bWork\("([a-z ]+)"', path.read_text())}
    [row] = re.findall(
        r"^\| `tael_compactor_set_aside.*pieces of work \((.*?)\)", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE
    )
    assert set(re.findall(r"`([a-z ]+)`", row)) == kinds


def test_there_are_metrics_at_all() -> None:
    assert len(set(exported())) > 30


@pytest.mark.parametrize("name", sorted({name for name, _, kind in exported() if kind == "histogram"}))
def test_names_of_metrics_contain_their_unit(name: str) -> None:
    assert name.endswith(UNITS)
