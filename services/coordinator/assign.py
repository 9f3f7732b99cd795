"""Who should hold which lease, pure: shards, live members and present holders in, grants out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence


def assign(holders: Mapping[int, str], members: Sequence[str]) -> dict[int, str]:
    """The shards whose lease should move, and to whom.

    ``holders`` has every shard that may be held, with its present holder ("" for none). Nothing is granted without live members.
    Every shard ends up with a live holder and no member holds over one more than another; beyond that nothing moves. Equal inputs give
    equal grants.
    """
    if not members:
        return {}
    alive = sorted(set(members))
    load = Counter(dict.fromkeys(alive, 0))
    orphans: list[int] = []
    for shard, holder in sorted(holders.items()):
        if holder in load:
            load[holder] += 1
        else:
            orphans.append(shard)
    grants: dict[int, str] = {}
    for shard in orphans:
        chosen = min(alive, key=lambda member: (load[member], member))
        grants[shard] = chosen
        load[chosen] += 1
    for shard, holder in sorted(holders.items()):
        lightest = min(alive, key=lambda member: (load[member], member))
        if holder in load and shard not in grants and load[holder] > load[lightest] + 1:
            grants[shard] = lightest
            load[holder] -= 1
            load[lightest] += 1
    return grants
