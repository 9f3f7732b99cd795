"""Distinguishes a server that hangs from one that is slow: a slow one still answers ``/ping``, which needs neither its tables nor its
memory.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

import aiohttp


@dataclass(frozen=True, slots=True)
class Pulse:
    """How a server is watched while a statement of it runs: a ping every ``every_seconds``, each answered within ``answer_seconds``."""

    every_seconds: float = 2.0
    answer_seconds: float = 8.0

    async def lost(self, url: str, tls: ssl.SSLContext | None) -> None:
        """Return when the server at ``url`` leaves a ping unanswered; while it answers, wait.

        Anything that comes back counts as an answer, a refusal or a closed connection too: then the statement itself fails with what is
        wrong.
        """
        while True:
            await asyncio.sleep(self.every_seconds)
            try:
                await self._ping(url, tls)
            except TimeoutError:
                return
            except (aiohttp.ClientError, OSError):
                continue

    async def _ping(self, url: str, tls: ssl.SSLContext | None) -> None:
        # Names are resolved by threads that this process may need for other work, and that is not the server's doing: no timeout holds for
        # it.
        patience = aiohttp.ClientTimeout(sock_connect=self.answer_seconds, sock_read=self.answer_seconds)
        # Over a connection of its own: those of the statements' pool may all be waiting for slow answers. It goes through the same proxy.
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=patience, connector=aiohttp.TCPConnector(ssl=tls or True)) as session,
            session.get(f"{url.rstrip('/')}/ping", allow_redirects=False),
        ):
            pass
