"""The findings of `tael doctor` for a server's answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from services.compactor import erase, rewrite
from tael.cli.diagnose import Answers, diagnose

WELL: dict[str, Any] = {
    "leader": {"holder": "coordinator-0", "epoch": 3},
    "members": [{"target": target, "alive": True} for target in ("coordinator", "ingest", "query", "compactor")],
    "shards": [{"name": "shard-0", "writer": {"holder": "ingest-0", "lag_entries": 3, "lost_entries": 0}, "wal": {"bytes": 1}}],
    "damaged_keys": {},
}
NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
Change = Callable[[dict[str, Any]], object]


def said(cluster: dict[str, Any], level: str, **other: Any) -> list[str]:
    ready, skew = other.get("ready", {"reasons": {}}), other.get("skew", 0.0)
    answers = other.get("services", {}), other.get("cold", {}), {"deletions": other.get("deletions", [])}
    found = diagnose(Answers(cluster, ready, *answers, skew, NOW))
    return [finding.what for finding in found if finding.level == level and (finding.cure or level == "ok")]


def test_all_is_well() -> None:
    assert said(WELL, "failure") == said(WELL, "warning") == []
    assert len(said(WELL, "ok")) == 8


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        (lambda c: c.update(leader=None), "failure", "no coordinator leads"),
        (lambda c: c["members"][1].update(alive=False), "failure", "ingest: none alive"),
        (lambda c: c["shards"][0].update(writer={"holder": ""}), "failure", "shard-0: it has no writer"),
        (lambda c: c["shards"][0]["writer"].update(lag_entries=20_000), "warning", "shard-0: 20000 entries behind"),
        (lambda c: c["shards"][0]["writer"].update(lost_entries=2), "warning", "2 entries were lost"),
        (lambda c: c["shards"][0].update(wal=None), "failure", "the state of its WAL cannot be read"),
        (lambda c: c.update(shards=[]), "failure", "there are no shards"),
        (lambda c: c["damaged_keys"].update(shards="no JSON"), "failure", "the key shards is damaged"),
    ],
)
def test_findings_name_the_problem_and_the_remedy(change: Change, level: str, words: str) -> None:
    cluster = copy.deepcopy(WELL)
    change(cluster)
    assert any(words in what for what in said(cluster, level)), said(cluster, level)


def test_the_server_and_its_answers() -> None:
    assert said(WELL, "failure", ready={"reasons": {"nats": "away"}}) == ["query is not ready: nats: away"]
    assert said(WELL, "failure", services={"missing_shards": ["shard-1"]}) == ["answers are missing shard-1"]
    assert said(WELL, "warning", skew=-30.0) == ["the server's clock is -30 s from this machine's"]


def test_a_damaged_cold_tier() -> None:
    """A missing manifest is a shard that has rolled nothing yet."""
    shards = [
        {"shard": "shard-0", "manifest": "ok"},
        {"shard": "shard-1", "manifest": "damaged"},
        {"shard": "shard-2", "manifest": "missing"},
    ]
    [what] = said(WELL, "failure", cold={"shards": shards})
    assert what.startswith("shard-1: the manifest of its cold tier is damaged")


@pytest.mark.parametrize(
    ("state", "requested", "reason", "stuck"),
    [
        ("running", "15:29", f"{erase._FAILED}no answer", True),
        ("running", "15:29", f"{erase._UNREAD}spans/x.parquet", True),
        ("running", "15:29", f"{erase._ON_THEIR_WAY}spans of 2026-03-04T10:00Z", False),
        ("running", "09:29", f"{erase._ON_THEIR_WAY}spans of 2026-03-04T10:00Z", True),
        ("running", "15:29", f"{erase._ON_THEIR_WAY}spans of 2026-03-04T10:00Z, {rewrite.ROLL_FAILS}(no answer)", True),
        ("waiting", "09:29", None, True),
        ("waiting", "09:31", None, False),
        ("done", "09:29", None, False),
    ],
    ids=["failed", "unread", "waits", "waits long", "waits for what fails", "not begun", "new", "done"],
)
def test_deletions_that_are_stuck(state: str, requested: str, reason: str | None, stuck: bool) -> None:
    """By what they wait for, or by how long."""
    shards = [{"shard": "shard-0", "state": state, "reason": reason}]
    deletion = {"id": "0a", "requested_at": f"2026-03-04T{requested}:00.000000000Z", "shards": shards}
    found = said(WELL, "warning", deletions=[deletion])
    expected = f"shard-0: deletion 0a of 2026-03-04T{requested} is not done: {reason or 'it has not started'}"
    assert found == ([expected] if stuck else [])
