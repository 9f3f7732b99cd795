"""Two coordinators run, one leads: the other takes over with the next epoch, and one that slept is fenced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.nats import NatsServer
from tests.support.ports import free_port
from tests.support.suite import until

pytestmark = pytest.mark.system


class Coordinator:
    """One coordinator process; its shard is never there, which must not keep it from leading."""

    def __init__(self, name: str, server: NatsServer, directory: Path) -> None:
        self.name = name
        self.port = free_port()
        self.log_path = directory / f"{name}.log"
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TAEL_")},
            "TAEL_NODE_ID": name,
            "TAEL_NATS_URL": server.url,
            "TAEL_NATS_MONITOR_URL": server.monitor_url,
            "TAEL_CLICKHOUSE_URLS": f"http://127.0.0.1:{free_port()}",
            "TAEL_INTERNAL_ADDR": f"127.0.0.1:{self.port}",
            "TAEL_LEASE_TTL_SECS": "1",
            "TAEL_WAL_MAX_BYTES": "64MiB",
        }
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "services", "coordinator"], env=env, stdout=log, stderr=log)

    def log(self) -> str:
        """What it has printed."""
        return self.log_path.read_text()

    def cluster(self) -> dict[str, Any] | None:
        """Its ``/internal/cluster``, None while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/internal/cluster", timeout=2) as answer:  # a loopback http URL
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            return None

    def reasons(self) -> dict[str, str]:
        """Why it is not ready; empty when it is, or does not answer."""
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2).close()
        except urllib.error.HTTPError as error:
            return dict(json.load(error)["reasons"])
        except OSError:
            pass
        return {}


def leader_seen_by(coordinator: Coordinator) -> dict[str, Any] | None:
    """Holder and epoch, None while there is none."""
    cluster = coordinator.cluster()
    return cluster["leader"] if cluster and cluster["leader"] and cluster["leader"]["holder"] else None


@pytest.fixture
def pair(nats_server: NatsServer, tmp_path: Path) -> Iterator[tuple[Coordinator, Coordinator]]:
    """A leader and a standby, in this order."""
    with coordinators(nats_server, tmp_path) as (first, second):
        yield first, second


@contextmanager
def coordinators(server: NatsServer, directory: Path) -> Iterator[tuple[Coordinator, Coordinator]]:
    """Start two, and tell which of them leads."""
    both = [Coordinator(name, server, directory) for name in ("left", "right")]
    try:
        leader = until(lambda: leader_seen_by(both[0]) or leader_seen_by(both[1]), "a leader")
        until(lambda: all(c.cluster() for c in both), "both to answer")
        first, second = sorted(both, key=lambda c: c.name != leader["holder"])
        yield first, second
    finally:
        for coordinator in both:
            coordinator.process.send_signal(signal.SIGCONT)
            coordinator.process.kill()
            coordinator.process.wait(60)


def test_the_standby_takes_over_from_a_killed_leader(pair: tuple[Coordinator, Coordinator]) -> None:
    """With a larger epoch, by itself."""
    leader, standby = pair
    before = until(lambda: leader_seen_by(standby), "a leader")
    leader.process.kill()
    after = until(lambda: (now := leader_seen_by(standby)) and now["holder"] == standby.name and now, "the standby to lead")
    assert after["epoch"] > before["epoch"]


def test_a_coordinator_whose_streams_are_refused_is_not_ready_and_names_the_remedy(tmp_path: Path) -> None:
    """NATS reserves a stream's size when it is made; on a disk that is too small it refuses."""
    server = NatsServer(tmp_path / "nats", max_file="8MB")
    server.start()
    try:
        with coordinators(server, tmp_path) as (leader, _):
            reason = until(lambda: leader.reasons().get("streams"), "the leader to say that it has no streams")
    finally:
        server.kill()
    assert "NATS refuses stream tael_wal_0 of 67108864 bytes (TAEL_WAL_MAX_BYTES)" in reason
    assert "free or add disk space, raise NATS' max_file, or lower TAEL_WAL_MAX_BYTES" in reason
    assert leader.log().count("cannot create the WAL's streams") == 1


def test_a_leader_that_slept_is_fenced(pair: tuple[Coordinator, Coordinator]) -> None:
    """It wakes, finds the larger epoch, says so and stands by."""
    leader, standby = pair
    leader.process.send_signal(signal.SIGSTOP)
    after = until(lambda: (now := leader_seen_by(standby)) and now["holder"] == standby.name and now, "the standby to lead")
    leader.process.send_signal(signal.SIGCONT)
    until(lambda: "fenced" in leader.log() and standby.name in leader.log(), "the old leader to say that it is fenced")
    assert leader_seen_by(leader) == after


def test_a_clean_stop_hands_over_at_once(pair: tuple[Coordinator, Coordinator]) -> None:
    """Exit 0, and the lease is given up rather than left to go stale."""
    leader, standby = pair
    leader.process.terminate()
    assert leader.process.wait(60) == 0
    until(lambda: (now := leader_seen_by(standby)) and now["holder"] == standby.name, "the standby to lead")


def test_the_cluster_is_described(pair: tuple[Coordinator, Coordinator]) -> None:
    """Members, shard, log; the shard that cannot be reached has no writer."""
    _, standby = pair
    cluster = until(lambda: (c := standby.cluster()) and len(c["shards"]) == 1 and c, "the shard map")
    assert isinstance(cluster, dict)
    assert {member["node_id"] for member in cluster["members"]} == {"left", "right"}
    [shard] = cluster["shards"]
    assert shard["name"] == "shard-0"
    assert shard["writer"] is None
    until(lambda: (c := standby.cluster()) and c["shards"][0]["wal"], "the WAL")


def test_a_coordinator_without_nats_waits_and_can_be_stopped(nats_server: NatsServer, tmp_path: Path) -> None:
    """It says what it waits for, leads when the server comes, and leaves cleanly when told to while it is away."""
    nats_server.kill()
    waiting = Coordinator("early", nats_server, tmp_path)
    try:
        until(lambda: "waiting for NATS" in waiting.log(), "the coordinator to say that it waits")
        nats_server.start()
        until(lambda: (now := leader_seen_by(waiting)) and now["holder"] == "early", "the coordinator to lead")
        nats_server.kill()
        waiting.process.terminate()
        assert waiting.process.wait(60) == 0
    finally:
        waiting.process.kill()
        waiting.process.wait(60)


def test_a_lazy_server_is_warned_about_by_name(tmp_path: Path) -> None:
    """With what to set."""
    server = NatsServer(tmp_path / "lazy", sync="2m")
    server.start()
    try:
        with coordinators(server, tmp_path) as (leader, _):
            until(lambda: "sync_interval 120s: set jetstream { sync_interval: always }" in leader.log(), "the warning")
    finally:
        server.kill()
