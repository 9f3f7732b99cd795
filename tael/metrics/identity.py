"""Which series a sample belongs to, as a number: hashes that never change, because rows are found by them (docs/formats.md)."""

from __future__ import annotations

from itertools import chain

from xxhash import xxh3_64_intdigest

from tael.model.series import Labels

HOUR_MS = 3_600_000
MAX_TIME_MS = (1 << 32) * 1000 - HOUR_MS
"""Times before it have an hour that 32 bits of seconds hold (the year 2106)."""


def metric_id(name: str) -> int:
    """The id of a metric's name, 64 bits; ClickHouse's ``xxh3(name)`` is the same."""
    return int(xxh3_64_intdigest(name.encode()))


def series_id(tenant: str, labels: Labels) -> int:
    r"""The id of a tenant's label set, 64 bits. ``\xff``, which no UTF-8 text holds, keeps the parts apart."""
    return int(xxh3_64_intdigest(b"\xff".join(map(str.encode, (tenant, *chain.from_iterable(labels))))))
