"""Whether the hot tier has its tables: after the first start a query would find none until the leader has migrated every shard."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from tael.runtime.service import Stop

_LOOK_SECONDS = 0.1
_TIMEOUT = aiohttp.ClientTimeout(total=5)


async def migrated(client: aiohttp.ClientSession, urls: Sequence[str], stop: Stop, limit_seconds: float) -> bool:
    """Wait until a coordinator says that every shard has its tables; False when the time is over or the drain begins.

    ``urls`` are each coordinator's ``/internal/cluster``.
    """
    try:
        async with asyncio.timeout(limit_seconds):
            while not stop.is_set:
                if any(map(has_tables, await asyncio.gather(*(_status(client, url) for url in urls)))):
                    return True
                await stop.sleep(_LOOK_SECONDS)
    except TimeoutError:
        return False
    return False


def has_tables(status: Mapping[str, Any]) -> bool:
    """Whether the cluster has shards, and the leader has found each one's schema to be up to date."""
    shards = status.get("shards") or ()
    return bool(shards) and all(shard["schema"] and shard["schema"]["migrated"] for shard in shards)


async def _status(client: aiohttp.ClientSession, url: str) -> Mapping[str, Any]:
    try:
        async with client.get(url, timeout=_TIMEOUT) as answer:
            found: Mapping[str, Any] = await answer.json() if answer.status == 200 else {}
            return found
    except (aiohttp.ClientError, TimeoutError):
        return {}
