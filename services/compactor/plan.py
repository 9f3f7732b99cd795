"""Which partitions go, and from which of those that stay the rows of some tenants go, pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tael.model.retention import Retention, Tenants
from tael.model.time import HOUR_NS
from tael.storage.api import PartitionSize


@dataclass(frozen=True, slots=True)
class Past:
    """What has outlived its retention: partitions of which nothing is wanted, and those of which only some tenants' rows are. Oldest first."""

    whole: tuple[PartitionSize, ...]
    in_part: tuple[tuple[PartitionSize, Tenants], ...]


def past_retention(partitions: Iterable[PartitionSize], retention: Retention, now_ns: int) -> Past:
    """A partition counts when all of it is too old for somebody; of one that is not, everything stays."""
    ordered = sorted(partitions, key=lambda one: (one.start_ns, one.table))
    judged = [(one, retention.past(one.signal, one.start_ns + one.hours * HOUR_NS, now_ns)) for one in ordered]
    whole = tuple(one for one, gone in judged if gone.is_everybody)
    return Past(whole, tuple((one, gone) for one, gone in judged if not (gone.is_everybody or gone.is_nobody)))
