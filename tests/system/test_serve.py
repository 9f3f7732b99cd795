"""`tael serve` as a person meets it: the banner, the one-line refusals, the clean drain."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.serve.schema import has_tables
from tests.support.ledger import Ledger, hash_of
from tests.support.suite import Suite, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(480)]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """One running suite with one shard."""
    with Suite(tmp_path_factory.mktemp("serve")) as running:
        yield running


def serve(directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `tael serve` to its end, on ports of the system's choice unless told otherwise."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TAEL_")}
    free = dict.fromkeys(
        ("TAEL_OTLP_GRPC_ADDR", "TAEL_OTLP_HTTP_ADDR", "TAEL_DD_AGENT_ADDR", "TAEL_REST_API_ADDR", "TAEL_GRPC_API_ADDR"), "127.0.0.1:0"
    )
    return subprocess.run(
        [sys.executable, "-m", "services", "serve"],
        env={**clean, **free, "TAEL_DATA_DIR": str(directory), **environ},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def fetch_json(url: str) -> Any:
    """A JSON answer."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # a loopback http URL
        return json.load(answer)


def answers(url: str) -> Any:
    """The same; None while the status is an error."""
    try:
        return fetch_json(url)
    except OSError:
        return None


def test_the_banner_is_true(suite: Suite) -> None:
    """What it names answers: the REST API, both receivers, and the data directory."""
    until(lambda: "export OTEL_SERVICE_NAME" in suite.log(), "the banner")
    log = suite.log()
    assert f"REST API   http://127.0.0.1:{suite.rest_port}" in log
    assert f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{suite.http_port}\n" in log
    assert "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n" in log
    assert f"tael --port-rest {suite.rest_port} services" in log
    assert str(suite.directory / "data") in log
    for port in (suite.rest_port, suite.grpc_port, suite.http_port):
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    with urllib.request.urlopen(f"{suite.url}/tempo/api/echo", timeout=30) as answer:  # noqa: S310  # a loopback http URL
        assert answer.status == 200
    # Written before the banner, so what was ready had its tables.
    assert has_tables(suite.get("/internal/cluster"))


def test_prometheus_finds_every_process_and_its_metrics(suite: Suite) -> None:
    """By service discovery: of query the members, of the supervisor everything on this machine."""

    def members() -> dict[str, str] | None:
        jobs = {target["labels"]["job"]: target["targets"][0] for target in suite.get("/internal/targets")}
        return jobs if len(jobs) == 4 else None

    found = fetch_json(f"http://{suite.supervisor()}/internal/targets")
    jobs = {target["labels"]["job"]: target["targets"][0] for target in found}
    assert until(members, "four members").items() <= jobs.items()
    marks = {
        "tael-serve": 'tael_serve_ready{process="nats"} 1.0',
        "tael-s3": "SeaweedFS_",
        "tael-hotnode": "tael_hotnode_running",
        "tael-ingest": "tael_ingest_inflight_bytes",
        "tael-query": "tael_query_running",
        "tael-coordinator": "tael_coordinator_epoch",
        "tael-compactor": "tael_compactor_epoch",
    }
    assert jobs.keys() == marks.keys()
    for job, address in jobs.items():

        def exported(job: str = job, url: str = f"http://{address}/metrics") -> bool:
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # a loopback http URL
                text = answer.read().decode()
            return f"\n{marks[job]}" in text and "\nprocess_resident_memory_bytes" in text

        until(exported, f"the metrics of {job}")


def test_the_supervisor_reports_memory_and_restarts(suite: Suite) -> None:
    """Memory of the parts that have no metrics of their own; a process that ended, and that it is back."""
    until(lambda: "compactor is ready" in suite.log(), "the last step")
    internal = f"http://{suite.supervisor()}"

    def value(metric: str, process: str) -> float:
        with urllib.request.urlopen(f"{internal}/metrics", timeout=30) as answer:  # noqa: S310  # a loopback http URL
            lines = answer.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(f'{metric}{{process="{process}"}}')).split()[1])

    nats = value("tael_serve_resident_bytes", "nats")
    assert nats == pytest.approx(suite.children()["nats"].memory_info().rss, rel=0.5)
    until(lambda: answers(f"{internal}/readyz") == {"status": "ready", "reasons": {}}, "everything to be ready")
    assert value("tael_serve_restarts_total", "compactor") == 0
    suite.kill("compactor")
    until(lambda: value("tael_serve_restarts_total", "compactor") == 1, "the restart")
    until(lambda: value("tael_serve_ready", "compactor") == 1, "the compactor")


def test_every_part_is_a_process_and_reported_ready(suite: Suite) -> None:
    def ready() -> list[str]:
        return [line.split("| ")[1].split(" is ready")[0] for line in suite.log().splitlines() if " is ready after " in line]

    everything = {"nats", "s3", "hotnode-0", "coordinator-0", "ingest", "query", "compactor"}
    until(lambda: everything <= set(ready()), "all to be ready")
    assert ready()[0] == "nats"
    assert set(ready()[1:3]) == {"s3", "hotnode-0"}
    assert set(suite.children()) == everything - {"coordinator-0"} | {"coordinator"}


def test_everything_listens_on_loopback_alone(suite: Suite) -> None:
    hosts = {c.laddr.ip for process in suite.children().values() for c in process.net_connections() if c.status == "LISTEN"}
    assert hosts <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_a_span_is_on_the_screen_that_watches(suite: Suite) -> None:
    """From a receiver through the log to `tael live`, while it is on its way to the hot tier."""
    url = f"{suite.url}/api/v1/traces/live?service=ledger&operation=numbered"
    with urllib.request.urlopen(url, timeout=30) as stream, Ledger(suite, spans_per_request=1, pause=0.1) as ledger:  # noqa: S310  # a loopback http URL
        line = next(raw for raw in stream if raw.startswith(b"data: "))
    (span,) = json.loads(line.removeprefix(b"data: "))
    assert (span["service"], span["operation"]) == ("ledger", "numbered")
    assert bytes.fromhex(span["trace_id"])[:8] == hash_of(ledger.service)


def test_a_second_suite_on_the_same_directory_is_one_line(suite: Suite) -> None:
    second = serve(suite.directory / "data")
    assert second.returncode == 1
    assert second.stderr == (
        f"tael: another tael serve (process {suite.pid}) is already running on {suite.directory / 'data'}; "
        "stop it or set TAEL_DATA_DIR to another directory\n"
    )


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """Said before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = serve(tmp_path, TAEL_REST_API_ADDR=address)
    assert ended.returncode == 1
    assert ended.stderr == f"tael: the REST API address {address} is already taken by another process; set TAEL_REST_API_ADDR to another\n"


def test_a_bad_setting_names_variable_value_and_what_it_takes(tmp_path: Path) -> None:
    ended = serve(tmp_path, TAEL_SHARDS="many", TAEL_OTLP_HTTP_ADDR="4318")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "tael: TAEL_SHARDS='many' cannot be used: it takes a whole number from 1 to 16",
        "tael: TAEL_OTLP_HTTP_ADDR='4318' cannot be used: it takes host:port, for example 127.0.0.1:4317",
    ]


def test_a_bad_setting_of_one_service_stops_the_suite(tmp_path: Path) -> None:
    """The supervisor does not know what the writer takes; the writer says it, and everything that had started is drained."""
    ended = serve(tmp_path, TAEL_BATCH_MAX_SPANS="many")
    assert ended.returncode == 2
    assert ended.stderr.endswith("tael: TAEL_BATCH_MAX_SPANS='many' cannot be used: it takes a whole number from 1 to 1000000\n")


def test_wiring_from_outside_is_refused(tmp_path: Path) -> None:
    ended = serve(tmp_path, TAEL_NATS_URL="nats://127.0.0.1:4222")
    assert ended.returncode == 2
    assert ended.stderr.startswith("tael: TAEL_NATS_URL='nats://127.0.0.1:4222' cannot be used: tael serve sets it for its own processes")


def test_sigterm_drains_in_order_and_leaves_nothing(suite: Suite) -> None:
    """Exit code 0, intake first, and no process left. The last test here: it stops the suite."""
    children = list(suite.children().values())
    assert suite.stop() == 0
    until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children), "all to be gone")
    log = suite.log()
    assert log.rstrip().endswith("drained")
    assert "was killed" not in log.rpartition("draining")[2]
