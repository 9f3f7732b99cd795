"""Fixtures that every test may ask for, and settings of all property tests."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = [
    "tests.support.nats",
    "tests.support.writer_bench",
    "tests.support.objects",
    "tests.support.hotnode",
    "tests.support.databases",
    "tests.support.storage",
    "tests.support.query",
    "tests.support.rollups",
    "tests.support.prometheus_api",
]

# An example's time is the machine's load, not the code's fault; pytest's own timeout ends what hangs. In continuous integration the
# examples are the same in every run, so that a change is judged by itself; elsewhere each run tries new ones.
settings.register_profile("tael", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("tael")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that are given the most time come first: a process that began one of them last would go on alone."""
    seconds: dict[Path, float] = defaultdict(float)
    for item in items:
        marker = item.get_closest_marker("timeout")
        seconds[item.path] = max(seconds[item.path], marker.args[0] if marker else 0)
    items.sort(key=lambda item: -seconds[item.path])
