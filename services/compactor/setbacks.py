"""Sets work that failed several times aside for a while, so that one bad hour or file holds nothing else up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import REGISTRY, Gauge

from tael.cold.plan import Work
from tael.errors import Conflict, Damaged, Rejected, Retryable
from tael.runtime.observe import get_logger

log = get_logger("compactor")
ATTEMPTS: Final = 3
"""How often a piece of work may fail before it is set aside. After that, each further failure sets it aside again."""
_FIRST_SECONDS: Final = 60.0
_FORGOTTEN_SECONDS: Final = 3600.0
"""How long after its pause a failure is remembered at least; longer than work that still exists waits for its turn."""
_ASIDE = Gauge(
    "tael_compactor_set_aside",
    "Hours, files and other pieces of work that failed repeatedly and wait.",
    ["shard", "work"],
    registry=REGISTRY,
)
GAUGES: Final = (_ASIDE,)


@dataclass(slots=True)
class _Failed:
    times: int = 0
    until: float = 0.0
    """The end of the pause or, without one, the time of the last failure; monotonic seconds."""
    reason: str = ""


class Setbacks:
    """The failures of one shard's work. The pause starts at a minute and doubles with each failure, up to ``longest_seconds``.

    It starts short because the bucket or the shard may be at fault: once they are back, the work that failed meanwhile is retried soon.
    Work that is not tried again is forgotten after a while.
    """

    def __init__(self, shard: int, longest_seconds: float = 3600.0, *, now: Callable[[], float] = time.monotonic) -> None:
        self._shard = str(shard)
        self._longest = longest_seconds
        self._now = now
        self._failed: dict[Work, _Failed] = {}

    def pause_seconds(self, work: Work) -> float:
        """How long the work is still set aside; 0 if it is not."""
        failed = self._failed.get(work)
        return max(0.0, failed.until - self._now()) if failed else 0.0

    def has_failed(self, work: Work) -> bool:
        """Whether the work has failed since it last succeeded."""
        return work in self._failed

    def reason(self, work: Work) -> str:
        """Why the work failed last; empty if it has not failed since it last succeeded."""
        return self._failed[work].reason if work in self._failed else ""

    def aside(self) -> frozenset[Work]:
        """The work that must not be tried now."""
        now = self._now()
        self._forget(now)
        return frozenset(work for work, failed in self._failed.items() if failed.until > now)

    @contextmanager
    def of(self, work: Work, name: str) -> Iterator[None]:
        """Count a failure of the block and raise it unchanged; a success forgets earlier failures. ``name``, a file's key or an hour, is
        for the log.
        """
        try:
            yield
        except (Retryable, Conflict, Rejected, Damaged) as error:
            self._count(work, name, error)
            raise
        # Giving an hour that is set aside back to the hot table is not a success of its roll.
        if work in self._failed and work not in self.aside():
            self._failed.pop(work, None)
            self._show(work.kind)

    def _forget(self, now: float) -> None:
        """Forget work that was not tried again long after its pause: it is gone, as an hour that its retention dropped."""
        kept_seconds = max(_FORGOTTEN_SECONDS, 2 * self._longest)
        gone = [work for work, failed in self._failed.items() if now - failed.until > kept_seconds]
        for work in gone:
            del self._failed[work]
        for kind in {work.kind for work in gone}:
            self._show(kind)

    def _count(self, work: Work, name: str, error: Exception) -> None:
        failed = self._failed.setdefault(work, _Failed())
        failed.times += 1
        failed.reason = str(error)
        failed.until = self._now()
        if failed.times >= ATTEMPTS:
            # The exponent is bounded, because a float overflows at the thousandth failure.
            pause = min(self._longest, _FIRST_SECONDS * 2.0 ** min(failed.times - ATTEMPTS, 20))
            failed.until = self._now() + pause
            log.warning(
                "set aside after repeated failures; the rest goes on",
                shard=self._shard,
                work=work.kind,
                what=name,
                failures=failed.times,
                reason=str(error),
                retry_in_seconds=pause,
            )
        self._show(work.kind)

    def _show(self, kind: str) -> None:
        counts = Counter(work.kind for work, failed in self._failed.items() if failed.times >= ATTEMPTS)
        _ASIDE.labels(self._shard, kind).set(counts[kind])
