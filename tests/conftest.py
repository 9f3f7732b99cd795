"""Fixtures that every test may ask for, and settings of all property tests."""

from __future__ import annotations

import os

from hypothesis import settings

pytest_plugins = [
    "tests.support.nats",
    "tests.support.writer_bench",
    "tests.support.objects",
    "tests.support.hotnode",
    "tests.support.storage",
    "tests.support.query",
    "tests.support.rollups",
    "tests.support.prometheus_api",
]

# An example's time is the machine's load, not the code's fault; pytest's own timeout ends what hangs. In continuous integration the examples are
# the same in every run, so that a change is judged by itself; elsewhere each run tries new ones.
settings.register_profile("tael", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("tael")
