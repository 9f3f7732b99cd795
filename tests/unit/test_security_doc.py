"""The tests that docs/security.md names exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOC = (TESTS.parent / "docs" / "security.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    files: dict[str, str] = {}
    for path in TESTS.rglob("test_*.py"):
        files[path.name] = files.get(path.name, "") + path.read_text()
    last = ""
    named = re.findall(r"`(test_\w+\.py|…)(?:::(test_\w+))?`", DOC)
    assert len(named) > 30
    for file, test in named:
        last = last if file == "…" else file
        assert last in files, last
        assert not test or f"def {test}(" in files[last], f"{last}::{test}"
