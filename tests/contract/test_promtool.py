"""promtool, as people use it, against Prometheus' API of tael."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess

import pytest

from tests.support.prometheus_api import T0, Prom

PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(PROMTOOL is None and os.environ.get("TAEL_REQUIRE_PEERS") != "1", reason="promtool is not installed")


def promtool(*command: str) -> subprocess.CompletedProcess[str]:
    """``promtool query`` in another process, to its end."""
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, "query", *command], capture_output=True, text=True, timeout=60, check=False)


async def test_promtool_queries_it(prom: Prom) -> None:
    def ask(*command: str) -> str:
        done = promtool(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    url = prom.api.url + "/prometheus"
    instant = await asyncio.to_thread(ask, "instant", "--time", str(T0 + 60), url, "sum(up)")
    assert f"{{}} => 2 @[{T0 + 60}]" in instant
    ranged = await asyncio.to_thread(ask, "range", "--start", str(T0), "--end", str(T0 + 30), "--step", "15s", url, 'up{instance="a"}')
    assert f"1 @[{T0}]" in ranged
    series = await asyncio.to_thread(ask, "series", "--match", "up", "--start", str(T0), "--end", str(T0 + 60), url)
    assert len(series.strip().splitlines()) == 2
    labels = await asyncio.to_thread(ask, "labels", url, "instance")
    assert labels.split() == ["a", "b"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("instant URL up{", 'bad_data: invalid parameter "query": 1:4: parse error: unexpected end of input inside braces'),
        (
            "range --start 0 --end 100000000 --step 1s URL up",
            "bad_data: exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "instant --time 1790002800 URL up+on(job)up",
            (
                'execution: found duplicate series for the match group {job="shop"} on the right hand-side of the operation: '
                '[{__name__="up", instance="a", job="shop"}, {__name__="up", instance="b", job="shop"}];'
                "many-to-many matching not allowed: matching labels must be unique on one side"
            ),
        ),
        ("series --match x{ URL", 'bad_data: invalid parameter "match[]": 1:3: parse error: unexpected end of input inside braces'),
        ("labels --match {} URL job", 'bad_data: invalid parameter "match[]": match[] must contain at least one non-empty matcher'),
    ],
)
async def test_promtool_reports_what_is_wrong(prom: Prom, command: str, message: str) -> None:
    done = await asyncio.to_thread(promtool, *command.replace("URL", prom.api.url + "/prometheus").split(" "))
    assert done.returncode == 1
    assert done.stderr.strip() == f"query error: {message}"
