"""What `tael doctor` makes of what a server says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tael.cli.diagnose import diagnose

WELL: dict[str, Any] = {
    "leader": {"holder": "coordinator-0", "epoch": 3},
    "members": [{"target": target, "alive": True} for target in ("coordinator", "ingest", "query", "compactor")],
    "shards": [{"name": "shard-0", "writer": {"holder": "ingest-0", "lag_entries": 3, "lost_entries": 0}, "wal": {"bytes": 1}}],
    "damaged_keys": {},
}
Change = Callable[[dict[str, Any]], object]


def said(cluster: dict[str, Any], level: str, **other: Any) -> list[str]:
    found = diagnose(cluster, other.get("ready", {"reasons": {}}), other.get("services", {}), other.get("skew", 0.0))
    return [finding.what for finding in found if finding.level == level and (finding.cure or level == "ok")]


def test_all_is_well() -> None:
    assert said(WELL, "failure") == said(WELL, "warning") == []
    assert len(said(WELL, "ok")) == 8


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        (lambda c: c.update(leader=None), "failure", "no coordinator leads"),
        (lambda c: c["members"][1].update(alive=False), "failure", "ingest: none alive"),
        (lambda c: c["shards"][0].update(writer={"holder": ""}), "failure", "shard-0: nobody writes it"),
        (lambda c: c["shards"][0]["writer"].update(lag_entries=20_000), "warning", "shard-0: 20000 entries behind"),
        (lambda c: c["shards"][0]["writer"].update(lost_entries=2), "warning", "2 entries went"),
        (lambda c: c["shards"][0].update(wal=None), "failure", "its WAL cannot be asked"),
        (lambda c: c.update(shards=[]), "failure", "there is no shard"),
        (lambda c: c["damaged_keys"].update(shards="no JSON"), "failure", "the key shards is damaged"),
    ],
)
def test_what_is_wrong_is_named_with_a_cure(change: Change, level: str, words: str) -> None:
    cluster = copy.deepcopy(WELL)
    change(cluster)
    assert any(words in what for what in said(cluster, level)), said(cluster, level)


def test_the_server_and_its_answers() -> None:
    assert said(WELL, "failure", ready={"reasons": {"nats": "away"}}) == ["query is not ready: nats: away"]
    assert said(WELL, "failure", services={"missing_shards": ["shard-1"]}) == ["answers lack shard-1"]
    assert said(WELL, "warning", skew=-30.0) == ["the server's clock is -30 s from this machine's"]
