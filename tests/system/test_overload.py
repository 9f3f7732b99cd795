"""More than ingest takes: flat memory, retryable refusals that say when to come again, no loss, and neighbours that notice nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from statistics import median

import pytest

from bench.overload import NOISY_ITEMS_PER_SECOND, RETRYABLE, assert_readable, noisy_and_quiet, overload, overloadable
from tests.support.suite import Suite

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(480)]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite that may hold little and limits one tenant."""
    with overloadable(tmp_path_factory.mktemp("overload")) as running:
        yield running


def test_a_flood_is_refused_retryably_within_flat_memory_and_nothing_is_lost(suite: Suite) -> None:
    flood, memory, recovery = asyncio.run(overload(suite, seconds=9))
    assert flood.requests > 0
    assert flood.offered_times > 3, "it was no overload"
    assert flood.refused.keys() <= RETRYABLE
    assert flood.without_delay == 0
    shown = [size >> 20 for size in memory]
    third = len(shown) // 3
    # Buffers and arenas grow to their working size in the first third. After it, memory that is kept of what the flood sends (some hundred
    # MiB in each third) would raise the middle; peaks of requests that are being parsed do not.
    assert median(shown[2 * third :]) <= median(shown[third : 2 * third]) + 64, shown
    assert max(shown) - shown[0] < 300, f"{shown}: 2 MiB may be held and wait here, and what 192 clients have on their way is 110"
    assert recovery < 5
    assert_readable(suite, {("flood", "default"): flood})


def test_a_noisy_tenant_is_held_to_its_rate_and_a_quiet_one_is_unhurt(suite: Suite) -> None:
    noisy, quiet = asyncio.run(noisy_and_quiet(suite, seconds=5))
    assert noisy.refused.keys() == {"RESOURCE_EXHAUSTED"}
    assert noisy.without_delay == 0
    assert noisy.offered_times > 5
    assert noisy.spans <= NOISY_ITEMS_PER_SECOND * 8
    assert quiet.refused.total() == 0
    assert quiet.requests >= 20
    assert_readable(suite, {("noisy", "noisy"): noisy, ("quiet", "quiet"): quiet})
