"""Decides which partitions are past retention, wholly or for some tenants, pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tael.model.retention import Retention, Tenants
from tael.model.time import HOUR_NS
from tael.storage.partitions import PartitionSize


@dataclass(frozen=True, slots=True)
class Past:
    """The partitions past retention, oldest first: ``whole`` for every tenant, ``in_part`` only for the tenants given with each."""

    whole: tuple[PartitionSize, ...]
    in_part: tuple[tuple[PartitionSize, Tenants], ...]


def past_retention(partitions: Iterable[PartitionSize], retention: Retention, now_ns: int) -> Past:
    """Judge each partition by its end: nothing is deleted from one until all of it is past somebody's retention."""
    ordered = sorted(partitions, key=lambda one: (one.start_ns, one.table))
    judged = [(one, retention.past(one.signal, one.start_ns + one.hours * HOUR_NS, now_ns)) for one in ordered]
    whole = tuple(one for one, gone in judged if gone.is_everybody)
    return Past(whole, tuple((one, gone) for one, gone in judged if not (gone.is_everybody or gone.is_nobody)))
