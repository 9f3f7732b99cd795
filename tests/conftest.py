"""Fixtures that every test may ask for."""

pytest_plugins = [
    "tests.support.nats",
    "tests.support.hotnode",
    "tests.support.storage",
    "tests.support.query",
    "tests.support.prometheus_api",
]
