"""What stays in a table that is too wide: numbers and levels whole, text shortened."""

from __future__ import annotations

import pytest

from tael.cli.tables import print_logs, print_points


def test_a_long_body_leaves_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"timestamp": "2026-01-31T09:30:00.123456789Z", "service": "shop", "level": "error", "body": "x" * 5000, "trace_id": "a" * 32}
    print_logs({"logs": [record], "cursor": None})
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["TIME", "SERVICE", "LEVEL", "BODY"]
    assert line.split()[2:4] == ["shop", "error"]
    assert len(line) <= 1000


def test_a_long_name_leaves_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    point = {"timestamp": "2026-01-31T09:30:00.123456789Z", "service": "shop", "name": "n" * 2000, "metric_type": "gauge", "value": 41.25}
    print_points({"metrics": [{**point, "attributes": {}}]})
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == "41.25"
