"""Decisions of `tael serve`: processes and their wiring, ports, back-off, the banner."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.text import Text

from services.serve import banner
from services.serve import ports as serve_ports
from services.serve.backoff import LONGEST_SECONDS, STABLE_SECONDS, Restarts
from services.serve.credentials import Credentials, ensure_certificate, load_credentials
from services.serve.nats import nats_nodes_there
from services.serve.plan import S3_GRPC_OFFSET, Plan, Process, plan, port_names
from services.serve.ports import choose, internal_ports, reserved, resolve_datadog
from services.serve.settings import WIRED, ServeSettings, refuse_fewer_shards, refuse_other_nats_nodes, refuse_wired
from services.serve.telemetry import targets
from tael.errors import BadSettings
from tael.runtime.config import Address, load

CREDENTIALS = Credentials(hotnode="hot-secret", nats="nats-secret", s3="s3-secret", s3_internal="signing-secret")


def settings_of(**environ: str) -> ServeSettings:
    return load(ServeSettings, {"TAEL_DATA_DIR": "/data", **environ})


def ports_of(settings: ServeSettings) -> dict[str, int]:
    return {name: 12_000 + n for n, name in enumerate(port_names(settings))}


def plan_of(environ: Mapping[str, str] | None = None, **settings_environ: str) -> Plan:
    settings = settings_of(**settings_environ)
    return plan(settings, ports_of(settings), environ or {}, CREDENTIALS, python="py", nats_server="nats-server", weed="weed")


def named(decided: Plan, name: str) -> Process:
    return next(p for p in decided.processes if p.name == name)


def test_the_wal_and_storage_start_before_all_others() -> None:
    steps = [[p.name for p in step] for step in plan_of(TAEL_SHARDS="2", TAEL_COORDINATORS="2").steps()]
    assert steps == [["nats"], ["s3", "hotnode-0", "hotnode-1"], ["coordinator-0", "coordinator-1", "ingest", "query", "compactor"]]


def test_the_drain_begins_with_the_intake_and_ends_with_the_log() -> None:
    steps = [{p.name for p in step} for step in plan_of().drain_steps()]
    assert steps == [{"ingest"}, {"query", "compactor"}, {"coordinator-0"}, {"s3", "hotnode-0"}, {"nats"}]


def test_services_are_wired_to_the_planned_ports() -> None:
    decided = plan_of(TAEL_SHARDS="2")
    ports = ports_of(settings_of(TAEL_SHARDS="2"))
    coordinator = named(decided, "coordinator-0").env
    assert coordinator["TAEL_NATS_URL"] == f"nats://tael:nats-secret@127.0.0.1:{ports['nats']}"
    monitor, _, path = coordinator["TAEL_NATS_MONITOR_URL"].rpartition("/")
    assert (monitor, len(path)) == (f"http://127.0.0.1:{ports['nats-monitor']}", 64)
    assert coordinator["TAEL_CLICKHOUSE_URLS"] == f"http://127.0.0.1:{ports['hotnode-0']},http://127.0.0.1:{ports['hotnode-1']}"
    assert named(decided, "compactor").env["TAEL_S3_URL"] == f"http://127.0.0.1:{ports['s3']}"
    for index in (0, 1):
        hot = named(decided, f"hotnode-{index}")
        assert hot.env["TAEL_HOTNODE_ADDR"] == f"127.0.0.1:{ports[f'hotnode-{index}']}"
        assert hot.env["TAEL_HOTNODE_DATA_DIR"] == f"/data/hotnode-{index}"
        assert hot.ready_url == f"http://127.0.0.1:{ports[f'hotnode-{index}']}/ping"


def test_each_service_has_a_name_and_an_internal_address_of_its_own() -> None:
    ours = [p for p in plan_of(TAEL_SHARDS="3", TAEL_COORDINATORS="2").processes if p.ours]
    assert [p.env["TAEL_NODE_ID"] for p in ours] == [p.name for p in ours]
    assert len({p.env["TAEL_INTERNAL_ADDR"] for p in ours}) == len(ours)


def test_everything_that_has_metrics_is_a_target() -> None:
    """Each process once, at its own address; NATS has no metrics for Prometheus."""
    decided = plan_of(TAEL_SHARDS="2")
    listed = targets(decided.processes, Address("127.0.0.1", 1))
    assert {one["labels"]["node"] for one in listed} == {"serve", *(p.name for p in decided.processes)} - {"nats"}
    assert {one["labels"]["job"] for one in listed} == {
        f"tael-{target}" for target in ("serve", "s3", "hotnode", "coordinator", "ingest", "query", "compactor")
    }
    assert len({one["targets"][0] for one in listed}) == len(listed)


def test_settings_of_the_user_reach_the_services_only() -> None:
    decided = plan_of({"TAEL_BATCH_MAX_SECS": "2", "PATH": "/bin", "TAEL_LOG_LEVEL": ""})
    assert named(decided, "ingest").env["TAEL_BATCH_MAX_SECS"] == "2"
    assert named(decided, "ingest").env["PATH"] == "/bin"
    for store in ("nats", "s3"):
        assert [name for name in named(decided, store).env if name.startswith("TAEL_")] == []


def test_public_addresses_are_passed_on() -> None:
    decided = plan_of(TAEL_REST_API_ADDR="127.0.0.1:9000", TAEL_OTLP_GRPC_ADDR=":5000", TAEL_ALLOW_OPEN="true")
    assert named(decided, "query").env["TAEL_REST_API_ADDR"] == "127.0.0.1:9000"
    assert named(decided, "ingest").env["TAEL_OTLP_GRPC_ADDR"] == "0.0.0.0:5000"


def test_every_part_wants_the_credentials_of_this_directory() -> None:
    """NATS, the hot nodes, S3, and SeaweedFS' parts among each other; a password that the user sets takes precedence."""
    decided = plan_of(TAEL_SHARDS="2")
    assert '  user: "tael"\n  password: "nats-secret"\n' in decided.files[Path("/data/nats/nats.conf")]
    for name in ("hotnode-0", "hotnode-1", "coordinator-0", "ingest", "query", "compactor"):
        assert named(decided, name).env["TAEL_CLICKHOUSE_PASSWORD"] == "hot-secret"
        assert named(decided, name).env["TAEL_S3_SECRET_KEY"] == "s3-secret"
    assert json.loads(decided.files[Path("/data/s3/identities.json")])["identities"][0]["credentials"][0]["secretKey"] == "s3-secret"
    s3 = named(decided, "s3").env
    assert {s3[f"WEED_JWT_{use}_KEY"] for use in ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")} == {"signing-secret"}
    assert s3["WEED_GRPC_FILER_CERT"] == s3["WEED_HTTPS_MASTER_CA"] == "/data/s3/certificate.pem"
    chosen = plan_of({"TAEL_CLICKHOUSE_PASSWORD": "mine"}, TAEL_S3_SECRET_KEY="my-key")
    assert named(chosen, "hotnode-0").env["TAEL_CLICKHOUSE_PASSWORD"] == named(chosen, "query").env["TAEL_CLICKHOUSE_PASSWORD"] == "mine"
    assert named(chosen, "compactor").env["TAEL_S3_SECRET_KEY"] == "my-key"


def test_credentials_are_made_once_and_read_by_nobody_else(tmp_path: Path) -> None:
    path, certificate, key = tmp_path / "credentials.json", tmp_path / "s3" / "certificate.pem", tmp_path / "s3" / "key.pem"
    made = load_credentials(path)
    assert len({made.hotnode, made.nats, made.s3, made.s3_internal}) == 4
    assert load_credentials(path) == made
    path.write_text(json.dumps({"nats": made.nats}))
    assert load_credentials(path).nats == made.nats
    ensure_certificate(certificate, key)
    before = certificate.read_bytes()
    ensure_certificate(certificate, key)
    assert certificate.read_bytes() == before
    assert {found.stat().st_mode & 0o777 for found in (path, certificate, key)} == {0o600}


def test_three_nats_servers_are_a_cluster_that_keeps_three_copies() -> None:
    """Every service has all addresses, each server has its own files, ports and routes, and they are stopped together, last."""
    decided, settings = plan_of(TAEL_NATS_NODES="3"), settings_of(TAEL_NATS_NODES="3")
    ports = ports_of(settings)
    servers = [p for p in decided.processes if p.target == "nats"]
    assert [p.name for p in servers] == ["nats", "nats-1", "nats-2"]
    assert {p.name for p in decided.drain_steps()[-1]} == {"nats", "nats-1", "nats-2"}
    ingest = named(decided, "ingest").env
    assert ingest["TAEL_NATS_URL"] == ",".join(f"nats://tael:nats-secret@127.0.0.1:{ports[p.name]}" for p in servers)
    assert ingest["TAEL_NATS_MONITOR_URL"].count("http://") == 3
    assert ingest["TAEL_WAL_REPLICAS"] == "3"
    assert named(plan_of({"TAEL_WAL_REPLICAS": "1"}, TAEL_NATS_NODES="3"), "ingest").env["TAEL_WAL_REPLICAS"] == "1"
    for server in servers:
        conf = decided.files[Path(f"/data/nats-cluster/{server.name}/nats.conf")]
        assert f"server_name: {server.name}\n" in conf
        assert f'listen: "127.0.0.1:{ports[f"{server.name}-routes"]}"' in conf
        assert all(f"nats://tael:nats-secret@127.0.0.1:{ports[f'{other.name}-routes']}" in conf for other in servers)
    assert "cluster" not in plan_of().files[Path("/data/nats/nats.conf")]


def test_a_directory_keeps_its_number_of_nats_servers(tmp_path: Path) -> None:
    """A server alone and the servers of a cluster do not read each other's files."""
    assert nats_nodes_there(tmp_path) == 0
    refuse_other_nats_nodes(settings_of(TAEL_NATS_NODES="3"), 0)
    (tmp_path / "nats" / "jetstream").mkdir(parents=True)
    assert nats_nodes_there(tmp_path) == 1
    with pytest.raises(BadSettings, match="TAEL_NATS_NODES='3' cannot be used: /data was made with 1"):
        refuse_other_nats_nodes(settings_of(TAEL_NATS_NODES="3"), 1)
    for name in ("nats", "nats-1", "nats-2"):
        (tmp_path / "other" / "nats-cluster" / name / "jetstream").mkdir(parents=True)
    assert nats_nodes_there(tmp_path / "other") == 3


def test_nats_fsyncs_before_it_acknowledges() -> None:
    conf = plan_of().files[Path("/data/nats/nats.conf")]
    assert "sync_interval: always" in conf
    assert "max_payload: 8388608" in conf
    assert re.findall(r'^(?:listen|http): "(.+):\d+"', conf, re.MULTILINE) == ["127.0.0.1", "127.0.0.1"]


def test_the_object_store_knows_one_identity_and_stays_on_loopback() -> None:
    decided = plan_of(TAEL_S3_ACCESS_KEY="k", TAEL_S3_SECRET_KEY="s", TAEL_S3_MEMORY_BYTES="128MiB")
    identities = json.loads(decided.files[Path("/data/s3/identities.json")])["identities"]
    assert [i["credentials"] for i in identities] == [[{"accessKey": "k", "secretKey": "s"}]]
    s3 = named(decided, "s3")
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"} <= set(s3.argv)
    assert (s3.env["GOMEMLIMIT"], s3.env["GOGC"]) == (str(128 << 20), "25")


def test_secrets_stay_out_of_the_command_lines() -> None:
    assert not any("hush" in word for p in plan_of(TAEL_S3_SECRET_KEY="hush").processes for word in p.argv)


def test_small_talk_leaves_warnings() -> None:
    nats, s3 = (re.compile(named(plan_of(), name).small_talk) for name in ("nats", "s3"))
    assert nats.search("[99] 2026/11/23 11:00:00.000001 [INF] Server is ready")
    assert nats.search("[99] 2026/11/23 11:00:00.000001 [WRN] Plaintext passwords detected, use nkeys or bcrypt")
    assert not nats.search("[99] 2026/11/23 11:00:00.000001 [WRN] disk is slow")
    assert s3.search("  Volume       ready     0.2s")
    assert not s3.search("E1123 11:10:31.069201 worker.go:514 no space left")


@pytest.mark.parametrize("name", WIRED)
def test_wiring_from_outside_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadSettings, match=f"{name}='x' cannot be used"):
        refuse_wired({name: "x"})


def test_shards_never_shrink() -> None:
    refuse_fewer_shards(settings_of(TAEL_SHARDS="2"), 2)
    with pytest.raises(BadSettings, match="TAEL_SHARDS='1' cannot be used: /data holds 2 shards, and they never shrink"):
        refuse_fewer_shards(settings_of(TAEL_SHARDS="1"), 2)


def test_a_datadog_port_in_use_is_reported_and_left_out() -> None:
    """Of the plan and the banner; every other public port must be free."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings, why = resolve_datadog(settings_of(TAEL_DD_AGENT_ADDR=f"127.0.0.1:{port}"))
    assert f"127.0.0.1:{port} is already taken" in why
    decided = plan(settings, ports_of(settings), {}, CREDENTIALS, python="py", nats_server="nats-server", weed="weed")
    assert named(decided, "ingest").env["TAEL_DD_AGENT_ADDR"] == "off"
    assert "Datadog" not in banner.plain(settings, ports_of(settings))


def test_datadog_is_on_its_usual_port_unless_set_otherwise() -> None:
    assert named(plan_of(), "ingest").env["TAEL_DD_AGENT_ADDR"] == "127.0.0.1:8126"
    assert named(plan_of(TAEL_DD_AGENT_ADDR="off"), "ingest").env["TAEL_DD_AGENT_ADDR"] == "off"
    settings, why = resolve_datadog(settings_of(TAEL_DD_AGENT_ADDR="127.0.0.1:0"))
    assert why == ""
    assert settings.dd_agent_addr is not None
    assert settings.dd_agent_addr.port > 0


def test_remembered_ports_are_kept_while_they_are_free() -> None:
    ports = choose(["a", "b"], {"a": 20_001, "b": 20_002, "gone": 20_003}, lambda port: port != 20_002)
    assert ports["a"] == 20_001
    assert ports["b"] not in (20_001, 20_002)
    assert set(ports) == {"a", "b"}


def test_no_port_is_given_twice() -> None:
    names = port_names(settings_of(TAEL_SHARDS="16", TAEL_COORDINATORS="5"))
    ports = choose(names, dict.fromkeys(names, 20_000), lambda _: True)
    assert len(set(ports.values())) == len(names)
    assert ports["s3-admin"] + S3_GRPC_OFFSET not in ports.values()


async def test_reserved_ports_are_for_their_processes_alone(tmp_path: Path) -> None:
    """Another supervisor that looks for ports finds none of them free, although nobody listens yet."""
    chosen = internal_ports(settings_of(), tmp_path / "ports.json")
    with reserved(chosen):
        for port in (*chosen.values(), chosen["s3-admin"] + S3_GRPC_OFFSET):
            assert not serve_ports._is_free(port, ours=False)
            async with await asyncio.start_server(lambda *_: None, "127.0.0.1", port):
                assert not serve_ports._is_free(port, ours=True)
    assert all(serve_ports._is_free(port, ours=False) for port in chosen.values())


def test_back_off_doubles_to_its_longest() -> None:
    restarts, delays = Restarts(), []
    for _ in range(9):
        restarts = restarts.after_exit(0)
        delays.append(restarts.delay_seconds(0))
    assert delays == [0.25, 0.5, 1, 2, 4, 8, LONGEST_SECONDS, LONGEST_SECONDS, LONGEST_SECONDS]
    assert restarts.delay_seconds(1) == LONGEST_SECONDS / 2


def test_a_stable_run_forgives() -> None:
    assert Restarts(7).after_exit(STABLE_SECONDS) == Restarts(1)


def test_a_crash_loop_is_reported_now_and_then() -> None:
    assert [n for n in range(15) if Restarts(n).is_loop] == [3, 8, 13]


def test_the_banner_lists_all_addresses() -> None:
    settings = settings_of()
    text = banner.plain(settings, ports_of(settings))
    for fact in (
        "http://127.0.0.1:7701",
        "http://127.0.0.1:4317",
        "http://127.0.0.1:4318",
        "/tempo",
        "/data",
        "tael services",
        "tael query traces --last 15m",
        "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318",
        "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        "export OTEL_SERVICE_NAME=my-service",
    ):
        assert fact in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("address", "flags"),
    [
        ("127.0.0.1:7701", ""),
        ("127.0.0.1:9000", " --port-rest 9000"),
        (":9000", " --port-rest 9000"),
        ("192.0.2.7:7701", " --server http://192.0.2.7:7701"),
    ],
)
def test_the_banner_names_flags_only_where_they_are_needed(address: str, flags: str) -> None:
    settings = settings_of(TAEL_REST_API_ADDR=address, TAEL_ALLOW_OPEN="true")
    assert f"tael{flags} services\n" in banner.plain(settings, ports_of(settings))


def test_the_terminal_banner_keeps_the_export_lines_whole() -> None:
    """Users copy them, so a narrow terminal must not break them."""
    settings = settings_of()
    lines = Text.from_ansi(banner.pretty(settings, ports_of(settings), 60)).plain.splitlines()
    assert "  export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318" in lines
