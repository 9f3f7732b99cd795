"""The banner waits for the hot tier's tables, for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.serve.schema import migrated
from tael.runtime.service import Stop

NOBODY = "http://127.0.0.1:9/internal/cluster"
NEW, BEHIND, DONE = {"schema": None}, {"schema": {"migrated": False, "reason": "it is down"}}, {"schema": {"migrated": True}}


async def asked(answers: Iterator[Any], stop: Stop, limit_seconds: float = 30) -> bool:
    """What `migrated` returns for a coordinator that gives these answers in turn: a list of shards, or an error for None."""

    async def answer(_: web.Request) -> web.Response:
        shards = next(answers)
        return web.Response(status=503) if shards is None else web.json_response({"shards": shards})

    app = web.Application()
    app.router.add_get("/internal/cluster", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as client:
        return await migrated(client, [NOBODY, str(server.make_url("/internal/cluster"))], stop, limit_seconds)


async def test_every_shard_is_waited_for() -> None:
    """Whichever coordinator says so."""
    answers = iter((None, [], [NEW], [BEHIND, DONE], [DONE, NEW], [DONE, DONE]))
    assert await asked(answers, Stop())
    assert not list(answers)


@pytest.mark.parametrize("drains", [True, False])
async def test_not_for_ever(drains: bool) -> None:
    """Until the time is over, or the drain begins."""
    stop = Stop()
    if drains:
        asyncio.get_running_loop().call_later(0.2, stop.set)
    assert not await asked(iter(lambda: [BEHIND], 0), stop, 30 if drains else 0.3)
    assert stop.is_set == drains


async def test_a_coordinator_that_does_not_listen_is_asked_again() -> None:
    async with aiohttp.ClientSession() as client:
        assert not await migrated(client, [NOBODY], Stop(), 0.3)
