"""How many different attribute keys each tenant's spans, and its log records, have in an hour: looked at in samples, warned about by name. Pure.

Nothing is refused: a key costs the hot tier no more than its bytes (docs/adr/0009). A sample is a request now and then, so that the count is
a lower bound that costs next to nothing. Sets hold hashes; of them and of tenants there are at most ``max_tracked``.
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
    """One tenant's hour of one kind of item."""

    keys: set[int] = field(default_factory=set)
    due: float = 0.0
    warned: bool = False


class KeyWatch:
    """``max_keys_of`` says beyond how many a tenant is warned, 0 never; ``on_warning`` hears tenant and text, once an hour each.

    ``now`` is seconds since the epoch. To be asked from one thread.
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
        """Whether this request is one to look at: twenty a second, of which each tenant has one of each kind of item."""
        if now < self._due or self.tracked >= self._max_tracked or not self._max_keys_of(tenant):
            return False
        seen = self._of(tenant, items, now)
        if seen.warned or now < seen.due:
            return False
        self._due, seen.due = now + _EVERY_SECONDS, now + _EVERY_SECONDS_OF_ONE
        return True

    def see(self, tenant: str, items: str, keys: Collection[str], now: float) -> None:
        """Count the keys of a request that was due; ``items`` is the word for what has them."""
        seen, most = self._of(tenant, items, now), self._max_keys_of(tenant)
        new = [key for key in keys if hash(key) not in seen.keys]
        # One key beyond the limit is all that has to be known; those behind it are neither kept nor counted.
        room = min(most + 1 - len(seen.keys), self._max_tracked - self.tracked)
        added = {hash(key) for key in new[: max(0, room)]}
        seen.keys |= added
        self.tracked += len(added)
        if len(seen.keys) > most and not seen.warned:
            seen.warned = True
            self._warn(tenant, items, most, sorted(new)[:_EXAMPLES])

    def take_warnings(self, tenant: str) -> str:
        """The warnings that were not sent to the tenant yet, as one line; empty when there are none."""
        return "; ".join(self._warnings.pop(tenant, ()))

    def _warn(self, tenant: str, items: str, most: int, examples: list[str]) -> None:
        named = ", ".join(repr(key[:60]) for key in examples)
        text = (
            f"the {items} of tenant {tenant} have more than {most} different attribute keys in this hour (TAEL_MAX_ATTRIBUTE_KEYS),"
            f" {named} among them; all are kept, but variable parts belong in values, where they can be searched for"
        )
        self._warnings.setdefault(tenant, []).append(text)
        self._on_warning(tenant, text)

    def _of(self, tenant: str, items: str, now: float) -> _Seen:
        hour = int(now // _HOUR_SECONDS)
        if hour != self._hour:
            self._hour, self.tracked = hour, 0
            self._seen.clear()
            self._warnings.clear()
        found = self._seen.get((tenant, items))
        if found is None:
            found = self._seen[tenant, items] = _Seen()
            # A tenant counts as a key: names are the senders' to choose, and must not grow this without bound.
            self.tracked += 1
        return found
