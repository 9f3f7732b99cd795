"""Sends payloads to the WAL before the items that refer to them: once for each hour, tenant and WAL, as far as this process remembers.

A remembered payload is relied on for a limited time only: one that nothing refers to is deleted once no receiver can rely on it any more
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
    """One for the process. It remembers the ``most`` payloads that were used last, each for ``relied_ns``."""

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
        """Return once every payload is in the WAL for each hour that refers to it, sent no earlier than ``relied_ns`` before ``now_ns``.

        Raises what the appender raises.
        """
        fresh: dict[Key, Wanted] = {}
        # Read before any lookup or append: if the WAL loses entries meanwhile, the count moves on, and payloads remembered
        # under the old count are never looked up again.
        turns = self._appender.turns(wal)
        for key, wanted in _each(turns, wal, tenant, payloads):
            # Compared with the arrival time stored in the WAL, from the same clock: payload collection goes by that time.
            known = key in self._sent and now_ns - self._sent[key] < self._relied_ns
            if known:
                self._sent.move_to_end(key)
            else:
                fresh[key] = wanted
            self._bytes.labels(_KNOWN if known else _SENT).inc(len(wanted.content))
        # Sequentially: a payload of many pieces must not use up the bytes that may wait for the WAL.
        for body in bodies(tenant, wal, fresh.values(), now_ns, self._appender.max_body_bytes):
            await self._appender.append(wal, PAYLOADS, body.body, body.items, body.dedup_id)
        # Remembered only now: a payload whose append failed must be sent again with the next request.
        for key in fresh:
            self._sent[key] = now_ns
            self._sent.move_to_end(key)
        while len(self._sent) > self._most:
            self._sent.popitem(last=False)


def _each(turns: int, wal: int, tenant: str, payloads: Sequence[Payload]) -> Iterator[tuple[Key, Wanted]]:
    for payload in payloads:
        for hour in payload.hours:
            yield (turns, wal, tenant, hour, payload.sha256), Wanted(hour, payload.sha256, payload.content)
