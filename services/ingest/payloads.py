"""Payloads on their way into the WAL, before what refers to them: each once an hour, tenant and WAL, as far as this process remembers.

What it remembers holds for some time only: a payload that nothing refers to is collected once no receiver can rely on it any more
(docs/adr/0025).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter

from tael.model.payload import Payload
from tael.model.signals import PAYLOADS
from tael.wal.api import WalAppender
from tael.wal.payloads import Wanted, bodies

Key: TypeAlias = tuple[int, int, str, int, bytes]
_SENT: Final = "sent"
_KNOWN: Final = "known"


class PayloadSender:
    """One for the process. It remembers ``most`` payloads, those used longest ago are forgotten first, and each for ``relied_ns``."""

    def __init__(self, appender: WalAppender, most: int, relied_ns: int, registry: CollectorRegistry) -> None:
        self._appender = appender
        self._most = most
        self._relied_ns = relied_ns
        self._sent: OrderedDict[Key, int] = OrderedDict()
        self._bytes = Counter(
            "tael_ingest_payload_bytes",
            "Bytes of payloads that items referred to: sent to the WAL, or known to be in it.",
            ["what"],
            registry=registry,
        )

    async def send(self, wal: int, tenant: str, payloads: Sequence[Payload], now_ns: int) -> None:
        """Return once every payload is in the WAL, in every hour in which it is referred to, since ``relied_ns`` before ``now_ns`` or later.

        Raises as the appender does.
        """
        fresh: dict[Key, Wanted] = {}
        # Read before anything is looked up or sent: what a loss in between takes is then kept under a number that is not asked for again.
        turns = self._appender.turns(wal)
        for key, wanted in _each(turns, wal, tenant, payloads):
            # By the time that is stored with it, on the same clock: whoever collects goes by that.
            known = key in self._sent and now_ns - self._sent[key] < self._relied_ns
            if known:
                self._sent.move_to_end(key)
            else:
                fresh[key] = wanted
            self._bytes.labels(_KNOWN if known else _SENT).inc(len(wanted.content))
        # One after the other: a payload of many pieces must not fill what may wait for the WAL.
        for body in bodies(tenant, wal, fresh.values(), now_ns, self._appender.max_body_bytes):
            await self._appender.append(wal, PAYLOADS, body.body, body.items, body.dedup_id)
        # Only now: a payload whose append failed must be sent with the next request.
        for key in fresh:
            self._sent[key] = now_ns
            self._sent.move_to_end(key)
        while len(self._sent) > self._most:
            self._sent.popitem(last=False)


def _each(turns: int, wal: int, tenant: str, payloads: Sequence[Payload]) -> Iterator[tuple[Key, Wanted]]:
    for payload in payloads:
        for hour in payload.hours:
            yield (turns, wal, tenant, hour, payload.sha256), Wanted(hour, payload.sha256, payload.content)
