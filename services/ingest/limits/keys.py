"""Counts the distinct attribute keys of each tenant's spans and log records in an hour, from sampled requests, and warns by name. Pure.

Nothing is refused: a key costs the hot tier no more than its bytes (docs/adr/0009). Only a request now and then is examined, so the count
is a lower bound at almost no cost. Sets hold hashes; hashes and tenants together number at most ``max_tracked``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

_HOUR_SECONDS: Final = 3600
_EVERY_SECONDS, _EVERY_SECONDS_OF_ONE = 0.05, 1.0
_EXAMPLES = 3


@dataclass(slots=True)
class _Seen:
    """One tenant's keys in this hour, for one kind of item."""

    keys: set[int] = field(default_factory=set)
    due: float = 0.0
    warned: bool = False


class KeyWatch:
    """Warns of tenants with more keys than ``max_keys_of`` allows (0: no limit): ``on_warning`` gets tenant and text, once an hour each.

    ``now`` is seconds since the epoch. Not thread-safe.
    """

    def __init__(self, max_keys_of: Callable[[str], int], max_tracked: int, on_warning: Callable[[str, str], None]) -> None:
        self._max_keys_of = max_keys_of
        self._max_tracked = max_tracked
        self._on_warning = on_warning
        self._hour, self._due = -1, 0.0
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._warnings: dict[str, list[str]] = {}
        self.tracked = 0

    def is_due(self, tenant: str, items: str, now: float) -> bool:
        """Whether to examine this request: at most twenty a second, and one a second for each tenant and kind of item."""
        if now < self._due or self.tracked >= self._max_tracked or not self._max_keys_of(tenant):
            return False
        seen = self._seen_this_hour(tenant, items, now)
        if seen.warned or now < seen.due:
            return False
        self._due, seen.due = now + _EVERY_SECONDS, now + _EVERY_SECONDS_OF_ONE
        return True

    def see(self, tenant: str, items: str, keys: Collection[str], now: float) -> None:
        """Count the keys of a request that was due; ``items`` is the kind of item, in the plural."""
        seen, most = self._seen_this_hour(tenant, items, now), self._max_keys_of(tenant)
        new = [key for key in keys if hash(key) not in seen.keys]
        # One key beyond the limit triggers the warning; any further ones are neither kept nor counted.
        room = min(most + 1 - len(seen.keys), self._max_tracked - self.tracked)
        added = {hash(key) for key in new[: max(0, room)]}
        seen.keys |= added
        self.tracked += len(added)
        if len(seen.keys) > most and not seen.warned:
            seen.warned = True
            self._warn(tenant, items, most, sorted(new)[:_EXAMPLES])

    def take_warnings(self, tenant: str) -> str:
        """The warnings not yet sent to the tenant, as one line; empty when there are none."""
        return "; ".join(self._warnings.pop(tenant, ()))

    def _warn(self, tenant: str, items: str, most: int, examples: list[str]) -> None:
        named = ", ".join(repr(key[:60]) for key in examples)
        text = (
            f"the {items} of tenant {tenant} have more than {most} different attribute keys in this hour (TAEL_MAX_ATTRIBUTE_KEYS),"
            f" {named} among them; all are kept, but variable parts belong in values, where they can be searched for"
        )
        self._warnings.setdefault(tenant, []).append(text)
        self._on_warning(tenant, text)

    def _seen_this_hour(self, tenant: str, items: str, now: float) -> _Seen:
        hour = int(now // _HOUR_SECONDS)
        if hour != self._hour:
            self._hour, self.tracked = hour, 0
            self._seen.clear()
            self._warnings.clear()
        found = self._seen.get((tenant, items))
        if found is None:
            found = self._seen[tenant, items] = _Seen()
            # A tenant counts like a key: senders choose tenants' names, and these must not grow the table without bound.
            self.tracked += 1
        return found
