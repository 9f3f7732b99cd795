"""``tael cold`` against a running API."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from tests.contract.test_cli import tael
from tests.support.doubles import MemorySpans
from tests.support.query import serving


async def test_cold_tier_is_shown_and_rolled_by_hand() -> None:
    """As a table and as JSON; a roll is watched until nothing older is hot."""
    async with serving(MemorySpans()) as api:
        table = await tael("cold", "status", "--server", api.url, "--format", "table")
        assert (table.code, table.err) == (0, "")
        assert table.out.splitlines()[1].split() == [
            "shard-0",
            "spans",
            "2",
            "1,000",
            "39.1",
            "KiB",
            "1970-01-01",
            "00:00",
            "1970-01-01",
            "01:00",
        ]
        assert "hot 1 hours, 10 rows, 900 B since 1970-01-01 02:00" in table.out
        rolled = await tael("cold", "roll", "--before", "1970-01-01T03:00:00Z", "--server", api.url)
        assert json.loads(rolled.out)["asked_before"] == "1970-01-01T03:00:00.000000000Z", rolled.err
        assert json.loads(rolled.out)["shards"][0]["hot"]["rows"] == 0
        assert "rolling 1 shard(s)" in rolled.err
        again = await tael("cold", "roll", "--before", "1970-01-01T03:00:00Z", "--server", api.url)
        assert (again.code, again.err) == (0, "nothing to roll: no hour that ended before then is hot\n")


async def test_a_roll_of_hours_to_come_is_one_of_those_that_are_over() -> None:
    """Else every hour to come would leave the hot tier as soon as it is over."""
    async with serving(MemorySpans()) as api:
        url = f"{api.url}/api/v1/admin/cold"
        before = datetime.now(UTC)
        async with api.session.post(f"{url}/roll", params={"before": "2199-01-01T00:00:00Z"}) as answer:
            assert answer.status == 202
        asked = datetime.fromisoformat((await api.json("/api/v1/admin/cold"))["asked_before"])
        assert before <= asked <= datetime.now(UTC)
        async with api.session.post(f"{url}/rebuild", params={"force": "maybe"}) as answer:
            assert (answer.status, (await answer.json())["error"]) == (400, "force: 'maybe' is not a known value (accepted: true, false)")


async def test_manifests_are_restored_by_hand() -> None:
    """Which ones is said, and they are waited for: not for ever."""
    async with serving(MemorySpans()) as api:
        none = await tael("cold", "rebuild", "--server", api.url)
        assert (none.code, none.err) == (0, "nothing to restore: every manifest is readable (--force restores these too)\n")
        forced = await tael("cold", "rebuild", "--force", "--server", api.url)
        assert (forced.code, forced.err) == (0, "shard-0: its compactor is restoring it\n")
        assert json.loads(forced.out)["shards"][0]["manifest"] == "ok"
        never = await tael("cold", "rebuild", "--force", "--timeout", "0", "--server", api.url)
        assert never.code == 1
        assert "after 0 s not restored: shard-0" in never.err
