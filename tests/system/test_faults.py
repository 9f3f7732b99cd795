"""Whatever process dies under load, every acknowledged span is readable exactly once afterwards."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Template
from tests.support.ledger import Ledger, assert_exactly_once, hash_of
from tests.support.suite import Suite, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Suite]:
    """One suite for the faults that heal."""
    with Suite(tmp_path_factory.mktemp("faults"), hot=template.directory) as running:
        yield running


@pytest.fixture(scope="module")
def receiving_suite(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Suite]:
    """A suite whose own ingest only receives."""
    with Suite(tmp_path_factory.mktemp("receivers"), env={"TAEL_INGEST_ROLE": "receive"}, hot=template.directory) as running:
        yield running


@pytest.fixture
def receivers(receiving_suite: Suite) -> Iterator[Suite]:
    """The same for one test, which brings the writers; they leave with it."""
    yield receiving_suite
    receiving_suite.dismiss()


def writer_of(suite: Suite) -> dict[str, Any]:
    """The first shard's writer lease as `/internal/cluster` shows it; without a holder before the first is granted."""
    return suite.get("/internal/cluster")["shards"][0]["writer"] or {"holder": ""}


def ask(suite: Suite, sql: str) -> str:
    """One statement to the first shard's ClickHouse, as text."""
    url = suite.get("/internal/cluster")["shards"][0]["url"]
    request = urllib.request.Request(url, data=sql.encode(), headers=suite.clickhouse_login())  # noqa: S310  # a loopback http URL
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # the same
        return str(answer.read().decode().strip())


@pytest.mark.parametrize("victim", ["ingest", "nats", "hotnode-0", "coordinator", "query", "compactor", "s3"])
def test_kill_9_under_load_loses_and_doubles_nothing(suite: Suite, victim: str) -> None:
    """Each process in turn; the supervisor starts it again and nobody has to do anything."""
    with Ledger(suite, service=f"kill-{victim}") as ledger:
        ledger.wait_for(400)
        killed = suite.kill(victim)
        until(lambda: (p := suite.children().get(victim)) is not None and p.pid != killed, f"{victim} to be restarted")
        ledger.wait_for(400)
    assert_exactly_once(suite, ledger)


def test_nats_restart_is_answered_retryably_and_heals(suite: Suite) -> None:
    """While the log is away a client is told to come back; when it returns, ingest goes on by itself."""
    with Ledger(suite, service="nats-restart", timeout=60) as ledger:
        ledger.wait_for(200)
        suite.kill("nats", signal.SIGTERM)
        until(lambda: ledger.retries, "a retryable answer")
        ledger.wait_for(400)
    assert set(ledger.retries) <= {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}
    assert_exactly_once(suite, ledger)


WRITER = {"TAEL_INGEST_ROLE": "write"}


@pytest.mark.parametrize("place", ["before_insert", "after_insert"])
def test_writer_dying_at_a_fail_point(receivers: Suite, place: str) -> None:
    """The writer dies at the place; its successor repeats the intent with the same token."""
    with Ledger(receivers, service=place) as ledger:
        first = receivers.spawn("ingest", f"dies-{place.replace('_', '-')}", {**WRITER, "TAEL_FAILPOINT": place})
        until(lambda: first.poll() is not None, f"the writer to die {place}")
        receivers.spawn("ingest", f"after-{place.replace('_', '-')}", WRITER)
        ledger.wait_for(400)
    assert first.returncode == -signal.SIGKILL
    assert_exactly_once(receivers, ledger)


def test_writer_killed_between_two_tables(receivers: Suite) -> None:
    """The spans are stored and the index of traces is not; the writer dies there, and its successor completes the pair."""
    service = "between-tables"
    with Ledger(receivers, service="before-between") as before:
        first = receivers.spawn("ingest", "fills-index", WRITER)
        before.wait_for(200)
    assert_exactly_once(receivers, before)
    ask(
        receivers,
        "ALTER TABLE tael.trace_index MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 0, max_avg_part_size_for_too_many_parts = 0",
    )
    with Ledger(receivers, service=service) as ledger:
        until(lambda: int(ask(receivers, f"SELECT count() FROM tael.spans WHERE service = '{service}'")), "spans without their index")
        indexed = ask(receivers, f"SELECT count() FROM tael.trace_index WHERE startsWith(trace_id, unhex('{hash_of(service).hex()}'))")
        first.kill()
        ask(
            receivers,
            "ALTER TABLE tael.trace_index RESET SETTING parts_to_throw_insert, parts_to_delay_insert, max_avg_part_size_for_too_many_parts",
        )
        receivers.spawn("ingest", "completes-index", WRITER)
        ledger.wait_for(200)
    assert int(indexed) == 0
    assert_exactly_once(receivers, ledger)
    spans = receivers.get(f"/api/v1/traces?service={service}&last=1d&limit=10000")["spans"]
    for trace_id in {span["trace_id"] for span in spans[-200:]}:
        assert receivers.get(f"/api/v1/traces/{trace_id}")["span_count"] > 0


def test_a_writer_that_slept_past_its_lease_is_fenced(receivers: Suite) -> None:
    """A second writer takes the shard over; the sleeper wakes, is stopped by its compare-and-set, and the log says so."""
    sleeper = receivers.spawn("ingest", "sleeper", WRITER)
    with Ledger(receivers, service="fenced") as ledger:
        until(lambda: writer_of(receivers)["holder"] == "sleeper", "the first writer to hold the lease")
        ledger.wait_for(200)
        epoch = writer_of(receivers)["epoch"]
        sleeper.send_signal(signal.SIGSTOP)
        try:
            receivers.spawn("ingest", "successor", WRITER)
            until(lambda: writer_of(receivers)["epoch"] > epoch, "the lease to move")
            ledger.wait_for(200)
        finally:
            sleeper.send_signal(signal.SIGCONT)
        until(lambda: "sleeper held epoch" in receivers.log(), "the fenced writer to say so")
    assert writer_of(receivers)["holder"] == "successor"
    assert_exactly_once(receivers, ledger)


def test_an_answer_names_the_dead_one_of_two_shards(tmp_path: Path, template: Template) -> None:
    """Spans spread over both; with one hot node stopped the answer is partial and names it, and heals when it is back."""
    with Suite(tmp_path, shards=2, hot=template.directory) as suite:
        with Ledger(suite) as ledger:
            ledger.wait_for(400)
        assert_exactly_once(suite, ledger)
        suite.kill("hotnode-1", signal.SIGSTOP)
        try:
            answer = suite.get("/api/v1/traces?service=ledger&last=1d&limit=10")
        finally:
            suite.kill("hotnode-1", signal.SIGCONT)
        assert answer["partial"] is True
        assert answer["missing_shards"] == ["shard-1"]
        assert answer["spans"]
        assert_exactly_once(suite, ledger)


def test_three_nats_servers_go_on_without_any_one_of_them(tmp_path: Path, template: Template) -> None:
    """Each of them is killed in turn, and started again by the supervisor; clients are told to come back, or notice nothing."""
    with Suite(tmp_path, env={"TAEL_NATS_NODES": "3"}, hot=template.directory) as suite:
        with Ledger(suite) as ledger:
            ledger.wait_for(200)
            for number in range(3):
                servers = sorted(child.pid for name, child in suite.children().items() if name.startswith("nats"))
                os.kill(servers[number], signal.SIGKILL)
                ledger.wait_for(200)
                until(lambda: sum(name.startswith("nats") for name in suite.children()) == 3, "the server to be restarted")
        assert set(ledger.retries) <= {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
        assert_exactly_once(suite, ledger)
