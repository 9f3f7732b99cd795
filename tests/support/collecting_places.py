"""Places for tests of payload collection: a shard of which everything, half or nothing is cold, with the texts that its traces refer to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.collecting import Place
from tests.support.hotnode import HotNode
from tests.support.storage import open_tier

ONE, TWO, THREE = (bytes([number]) * 16 for number in (1, 2, 3))
SYSTEM, ASKED, OTHER = (name * 2_000 for name in ("a system prompt ", "a question ", "another question "))


@pytest.fixture(params=["hot", "cold", "mixed"])
async def place(request: pytest.FixtureRequest, shared_hot_node: HotNode) -> AsyncIterator[Place]:
    """A shard with two traces that share a prompt, each with a question of its own: all of it hot, all of it cold, or one trace in each
    tier.
    """
    async with opened(request, shared_hot_node) as found:
        await found.say(ONE, SYSTEM, ASKED)
        await found.write()
        if request.param == "mixed":
            await found.cold.roll()
        await found.say(TWO, SYSTEM, OTHER)
        await found.write()
        if request.param == "cold":
            await found.cold.roll()
        yield found


@pytest.fixture
async def hot_place(request: pytest.FixtureRequest, shared_hot_node: HotNode) -> AsyncIterator[Place]:
    """An empty shard of which nothing is cold yet."""
    async with opened(request, shared_hot_node) as found:
        yield found


@asynccontextmanager
async def opened(request: pytest.FixtureRequest, *nodes: HotNode) -> AsyncIterator[Place]:
    request.getfixturevalue("object_server")
    async with open_tier([*nodes], tiering="cold") as tier:
        assert tier.cold is not None
        place = Place(tier, tier.cold)
        await place.index_since(place.hour_ns - 1)
        yield place
