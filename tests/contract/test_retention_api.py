"""What is wanted and what is stored, over the native API and as a table."""

from __future__ import annotations

import json
import time
from pathlib import Path

from services.query.api.native.span_json import rfc3339
from tael.model.time import HOUR_NS
from tael.storage.holdings import Holding, merged_holdings
from tests.contract.test_cli import tael
from tests.support.doubles import MemoryHoldings, MemorySpans
from tests.support.query import serving

OLDEST_NS = time.time_ns() // HOUR_NS * HOUR_NS - 48 * HOUR_NS
SHOP = Holding("shop", "traces", 1_000, 30_000, 20_000, OLDEST_NS, OLDEST_NS + HOUR_NS, 700)
BANK = Holding("bank", "logs", 5, 900, 0, OLDEST_NS, OLDEST_NS + HOUR_NS, 900)


async def test_wanted_and_actual(tmp_path: Path) -> None:
    """The settings', a tenant's own, and one that has nothing yet; a caller for one tenant sees that one."""
    (tmp_path / "limits").write_text('{"shop": {"retention_days": {"traces": 3, "logs": 1}}}')
    async with serving(MemorySpans(), holdings=MemoryHoldings(SHOP, BANK), TAEL_LIMITS_FILE=str(tmp_path / "limits")) as api:
        bank, nothing, shop = (await api.json("/api/v1/retention"))["retention"]
        assert (bank["tenant"], bank["wanted_days"], bank["set_by"], bank["items"]) == ("bank", 365, "settings", 5)
        assert (nothing["signal"], nothing["oldest"], nothing["next"], nothing["bytes"]) == ("logs", None, None, 0)
        assert (shop["bytes"], shop["hot_bytes"], shop["cold_bytes"]) == (50_000, 30_000, 20_000)
        assert (shop["wanted_days"], shop["set_by"], shop["next"]["bytes"]) == (3, "limits file", 700)
        assert 2 <= shop["actual_days"] < 2.1
        assert shop["next"]["at"] == rfc3339(SHOP.oldest_end_ns + 3 * 24 * HOUR_NS)
        alone = await api.get("/api/v1/retention", headers={"X-Scope-OrgID": "bank"})
        assert alone.json()["retention"] == [{**bank, "actual_days": alone.json()["retention"][0]["actual_days"]}]
        assert (await api.error("/api/v1/retention", tenant="x"))[0] == 400
        listed = await tael("--server", api.url, "retention", "--format", "table")
        header, *rows = listed.out.splitlines()
        assert (listed.code, len(rows)) == (0, 3)
        assert rows[2].index("29.3 KiB") < rows[2].index("19.5 KiB")
        assert header.index("WANTED") + len("WANTED") == rows[0].index("365 d") + len("365 d")
        assert json.loads((await tael("--server", api.url, "retention")).out)["retention"][0]["tenant"] == "bank"


def test_shards_add_up() -> None:
    """Sums; what goes next is what ends first, wherever it is."""
    later = SHOP._replace(oldest_ns=OLDEST_NS + HOUR_NS, oldest_end_ns=OLDEST_NS + 2 * HOUR_NS, oldest_bytes=10)
    assert merged_holdings([later, SHOP, BANK]) == [BANK, SHOP._replace(items=2_000, hot_bytes=60_000, cold_bytes=40_000)]
    assert merged_holdings([SHOP, SHOP])[0].oldest_bytes == 1_400
