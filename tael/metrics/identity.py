"""The ids of metrics and series: hashes that must never change, because stored rows are found by them (docs/formats.md)."""

from __future__ import annotations

from itertools import chain

from xxhash import xxh3_64_intdigest

from tael.model.series import Labels

HOUR_MS = 3_600_000
MAX_TIME_MS = (1 << 32) * 1000 - HOUR_MS
"""Hours of earlier times fit into 32 bits of seconds (until the year 2106)."""


_SERVICE_LABELS = ("service_name", "service", "app", "namespace")
"""The first of these labels that a series has determines which other series it is stored beside."""


def metric_id(name: str) -> int:
    """The 64-bit id of a metric's name, equal to ClickHouse's ``xxh3(name)``."""
    return _hash(name)


def series_id(tenant: str, labels: Labels) -> int:
    """The 64-bit id of a tenant's series: six bits from its job, six from its service, and 52 from all its labels.

    Rows are stored in the order of ids, so the series of a job, and within it those of a service, are stored together: a query of one
    service reads few other rows.
    """
    named = dict(labels)
    service = next((named[label] for label in _SERVICE_LABELS if label in named), "")
    return _hash(named.get("job", "")) >> 58 << 58 | _hash(service) >> 58 << 52 | labels_id(tenant, labels) >> 12


def labels_id(tenant: str, labels: Labels) -> int:
    r"""A 64-bit hash of a tenant's label set. The parts are separated by ``\xff``, which UTF-8 text cannot contain."""
    return int(xxh3_64_intdigest(b"\xff".join(map(str.encode, (tenant, *chain.from_iterable(labels))))))


def _hash(value: str) -> int:
    return int(xxh3_64_intdigest(value.encode()))
