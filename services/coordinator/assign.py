"""Decides which member should hold which lease; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def assign(holders: Mapping[int, str], members: Sequence[str]) -> dict[int, str]:
    """The shards whose lease should move, and to whom.

    ``holders`` has every shard that may be held, with its present holder ("" for none). Nothing is granted without live members.
    Every shard ends up with a live holder, and no member holds more than one shard more than another; no other shard moves. Equal inputs
    give equal grants.
    """
    if not members:
        return {}
    held: dict[str, list[int]] = {member: [] for member in sorted(set(members))}
    orphans: list[int] = []
    for shard, holder in sorted(holders.items()):
        # A shard whose holder is not a live member is an orphan.
        held.get(holder, orphans).append(shard)
    grants: dict[int, str] = {}
    for shard in orphans:
        # Orphans first go to the member with the fewest shards: often that alone restores the balance, and no shard leaves a working
        # holder.
        lightest = min(held, key=lambda member: len(held[member]))
        held[lightest].append(shard)
        grants[shard] = lightest
    while True:
        heaviest = max(held, key=lambda member: len(held[member]))
        lightest = min(held, key=lambda member: len(held[member]))
        if len(held[heaviest]) - len(held[lightest]) <= 1:
            return grants
        # Each move narrows the gap, so this terminates; max and min take the first of equals, so the result is deterministic.
        moved = held[heaviest].pop(0)
        held[lightest].append(moved)
        grants[moved] = lightest
