"""Fixtures that every test may ask for."""

pytest_plugins = [
    "tests.support.nats",
    "tests.support.writer_bench",
    "tests.support.hotnode",
    "tests.support.storage",
    "tests.support.query",
    "tests.support.prometheus_api",
]
