"""Fixtures that every test may ask for, and settings of all property tests."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = [
    "tests.support.nats",
    "tests.support.writer_bench",
    "tests.support.hotnode",
    "tests.support.storage",
    "tests.support.query",
    "tests.support.prometheus_api",
]

# An example's time is the machine's load, not the code's fault; pytest's own timeout ends what hangs.
settings.register_profile("tael", deadline=None)
settings.load_profile("tael")
