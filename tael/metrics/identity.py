"""Which series a sample belongs to, as a number: hashes that never change, because rows are found by them (docs/formats.md)."""

from __future__ import annotations

from itertools import chain

from xxhash import xxh3_64_intdigest

from tael.model.series import Labels

HOUR_MS = 3_600_000
MAX_TIME_MS = (1 << 32) * 1000 - HOUR_MS
"""Times before it have an hour that 32 bits of seconds hold (the year 2106)."""


_SERVICE_LABELS = ("service_name", "service", "app", "namespace")
"""The first of these that a series has says with which others it lies."""


def metric_id(name: str) -> int:
    """The id of a metric's name, 64 bits; ClickHouse's ``xxh3(name)`` is the same."""
    return _hash(name)


def series_id(tenant: str, labels: Labels) -> int:
    """The id of a tenant's series, 64 bits: six of its job, six of what it is a service of, and 52 of all its labels.

    Rows lie in the order of ids, so that the series of a job, and in it those of a service, lie together: a query of one service reads
    its own rows and few others.
    """
    named = dict(labels)
    service = next((named[label] for label in _SERVICE_LABELS if label in named), "")
    return _hash(named.get("job", "")) >> 58 << 58 | _hash(service) >> 58 << 52 | labels_id(tenant, labels) >> 12


def labels_id(tenant: str, labels: Labels) -> int:
    r"""A hash of a tenant's label set, 64 bits. ``\xff``, which no UTF-8 text holds, keeps the parts apart."""
    return int(xxh3_64_intdigest(b"\xff".join(map(str.encode, (tenant, *chain.from_iterable(labels))))))


def _hash(value: str) -> int:
    return int(xxh3_64_intdigest(value.encode()))
