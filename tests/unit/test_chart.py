"""The shipped deployment files, without a cluster or a Docker engine: the chart renders valid manifests, and every setting in
them exists.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from services.wiring import all_settings
from tael.runtime.config import PREFIX, load
from tests.support.chart import BACKENDS, CHART, IMAGE, VALUES, of_kind, render, settings_of
from tests.support.deploy import DEPLOY, compose, filled, model_of, pinned

GOLDEN = Path(__file__).parents[1] / "golden" / "helm"
KUBERNETES = ("1.30", "1.35")
SERVICES = {"coordinator", "ingest", "query", "compactor"}
# Kinds that Kubernetes' own schemas do not know.
CUSTOM = {"HTTPRoute", "GRPCRoute", "PodMonitor", "ServiceMonitor", "PrometheusRule"}


@pytest.fixture(scope="module", params=VALUES)
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return render(VALUES[request.param])


def test_chart_lints_strictly() -> None:
    report = helm_python.lint(str(CHART), VALUES["default"], strict=True)
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


@pytest.mark.parametrize("version", KUBERNETES)
def test_manifests_are_valid(manifests: list[dict[str, Any]], version: str) -> None:
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", VALUES)
def test_manifests_are_the_golden_ones(name: str) -> None:
    """Shows a reviewer what a change of the chart does; ``TAEL_UPDATE_GOLDEN=1`` rewrites the files. Dashboards, data sources and passwords
    are left out.
    """
    path = GOLDEN / f"{re.sub(r'[^a-z]+', '-', name)}.yaml"
    shown = [m for m in render(VALUES[name]) if not re.search("-dashboard-|-datasources$", m["metadata"]["name"])]
    text = re.sub(r"(checksum/\w+): \w+", r"\1: CHECKSUM", yaml.safe_dump_all(shown, sort_keys=True, width=1000))
    text = re.sub(r"\b[A-Za-z0-9]{32}\b", "MADE-AT-RANDOM", text)
    if os.environ.get("TAEL_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def test_every_service_is_deployed_and_hardened(manifests: list[dict[str, Any]]) -> None:
    deployments = of_kind(manifests, "Deployment")
    assert {d["spec"]["template"]["spec"]["containers"][0]["args"][0] for d in deployments} == SERVICES
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "internal"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "internal"}


def test_selectors_match_the_pods_they_mean(manifests: list[dict[str, Any]]) -> None:
    sets = of_kind(manifests, "Deployment") + of_kind(manifests, "StatefulSet")
    pods = {d["metadata"]["name"]: d["spec"]["template"]["metadata"]["labels"] for d in sets}
    selecting = {"Service", "PodDisruptionBudget", "Deployment", "StatefulSet", "NetworkPolicy"}
    for manifest in [m for m in manifests if m["kind"] in selecting]:
        selector = manifest["spec"].get("selector") or manifest["spec"]["podSelector"]
        wanted = selector.get("matchLabels", selector).items()
        own = re.sub(r"-(headless|metrics)$", "", manifest["metadata"]["name"])
        assert [name for name, labels in pods.items() if wanted <= labels.items()] == [own]


def test_no_service_links_because_their_variables_look_like_settings(manifests: list[dict[str, Any]]) -> None:
    """Kubernetes would set TAEL_QUERY_PORT for a Service named tael-query, and an unknown TAEL_ variable refuses to start."""
    assert all(d["spec"]["template"]["spec"]["enableServiceLinks"] is False for d in of_kind(manifests, "Deployment"))


def test_every_service_starts_with_what_the_chart_sets(manifests: list[dict[str, Any]]) -> None:
    """Each settings model loads from the pod's environment: no variable is unknown and no value malformed."""
    shared = settings_of(manifests)
    for secret in of_kind(manifests, "Secret"):
        shared = {**shared, **{k: v for k, v in secret["stringData"].items() if k.startswith(PREFIX)}}
    for deployment in of_kind(manifests, "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        own = {e["name"]: e.get("value", deployment["metadata"]["name"] + "-7d9f-abcde") for e in container["env"]}
        load(model_of(container["args"][0]), {**shared, **own}, all_settings())


def test_nothing_is_a_hook_and_no_image_is_unpinned(manifests: list[dict[str, Any]]) -> None:
    for manifest in manifests:
        assert "helm.sh/hook" not in json.dumps(manifest)
    for deployment in of_kind(manifests, "Deployment"):
        assert pinned(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def test_an_existing_secret_is_used_and_none_is_made() -> None:
    manifests = render(VALUES["two shards, own secret, scaled and reachable"])
    assert of_kind(manifests, "Secret") == []
    sources = [d["spec"]["template"]["spec"]["containers"][0]["envFrom"] for d in of_kind(manifests, "Deployment")]
    assert all({"secretRef": {"name": "tael-keys"}} in source for source in sources)


def test_tokens_are_mounted_where_the_services_look_and_without_them_the_chart_says_that_it_is_open() -> None:
    assert settings_of(render(VALUES["default"]))["TAEL_ALLOW_OPEN"] == "true"
    manifests = render(VALUES["two shards, own secret, scaled and reachable"])
    settings = settings_of(manifests)
    assert "TAEL_ALLOW_OPEN" not in settings
    assert settings["TAEL_TOKENS_FILE"] == "/etc/tael/tokens/tokens"
    for deployment in of_kind(manifests, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        assert {"name": "tokens", "secret": {"secretName": "tael-tokens", "defaultMode": 0o440}} in pod["volumes"]
        assert {"name": "tokens", "mountPath": "/etc/tael/tokens", "readOnly": True} in pod["containers"][0]["volumeMounts"]


def test_certificates_are_mounted_where_the_services_look() -> None:
    manifests = render(VALUES["two shards, own secret, scaled and reachable"])
    files = {value for name, value in settings_of(manifests).items() if value.startswith("/etc/tael/")}
    assert {f"/etc/tael/tls/{name}" for name in ("tls.crt", "tls.key", "ca.crt")} <= files
    assert "/etc/tael/nats/tael.creds" in files
    assert {f"/etc/tael/trust/{name}" for name in ("tls.crt", "tls.key", "ca.crt")} <= files
    for deployment in of_kind(manifests, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
        assert secrets == {"tokens": "tael-tokens", "tls": "tael-tls", "trust": "tael-trust", "nats": "tael-nats"}
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert all(mounts[name] == f"/etc/tael/{name}" for name in secrets)


def test_a_made_secret_keeps_odd_characters() -> None:
    (secret,) = of_kind(render(VALUES["small, made secret"]), "Secret")
    assert secret["stringData"] == {"TAEL_CLICKHOUSE_PASSWORD": 'p"a: $s', "TAEL_S3_SECRET_KEY": "0123"}


@pytest.mark.parametrize("value", [33_554_432, 33_554_432.0, "33554432"])
def test_a_large_number_is_written_in_full(value: object) -> None:
    """A number in YAML may reach a template as a float, and every service refuses 3.3554432e+07."""
    name = "TAEL_MAX_REQUEST_BYTES"
    manifests = render({"image": IMAGE, "settings": {name: value}, "ingest": {"settings": {"TAEL_MAX_INFLIGHT_BYTES": value}}})
    assert settings_of(manifests)[name] == "33554432"
    (ingest,) = [d for d in of_kind(manifests, "Deployment") if d["metadata"]["name"] == "tael-ingest"]
    assert {"name": "TAEL_MAX_INFLIGHT_BYTES", "value": "33554432"} in ingest["spec"]["template"]["spec"]["containers"][0]["env"]


def test_a_service_monitor_finds_every_process_once() -> None:
    manifests = render(VALUES["two shards, own secret, scaled and reachable"])
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    found = [
        (service["spec"]["selector"]["app.kubernetes.io/component"], port["targetPort"])
        for service in of_kind(manifests, "Service")
        if wanted <= service["metadata"]["labels"].items()
        for port in service["spec"]["ports"]
        if port["name"] == endpoint["port"]
    ]
    assert sorted(found) == [(name, "internal") for name in sorted(SERVICES)]


def test_grafana_in_the_cluster_gets_composes_data_sources() -> None:
    compose_has = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/tael.yaml").read_text())["datasources"]
    (plain,) = [m for m in of_kind(render(VALUES["everything on"]), "ConfigMap") if m["metadata"]["name"] == "tael-datasources"]
    assert plain["metadata"]["labels"]["grafana_datasource"] == "1"
    found = yaml.safe_load(plain["data"]["tael.yaml"])["datasources"]
    assert found == [{**each, "url": each["url"].replace("query:", "tael-query.obs:")} for each in compose_has]
    secured = render(VALUES["two shards, own secret, scaled and reachable"])
    (plain,) = [m for m in of_kind(secured, "ConfigMap") if m["metadata"]["name"] == "tael-datasources"]
    for each in yaml.safe_load(plain["data"]["tael.yaml"])["datasources"]:
        assert each["url"].startswith("https://tael-query.obs:7701/")
        assert "streamingEnabled" not in each["jsonData"]
        assert (each["jsonData"]["httpHeaderName1"], each["secureJsonData"]) == (
            "Authorization",
            {"httpHeaderValue1": "Bearer ${TAEL_TOKEN}"},
        )


def test_an_autoscaler_owns_the_number_of_replicas() -> None:
    manifests = render(VALUES["two shards, own secret, scaled and reachable"])
    scaled = {h["spec"]["scaleTargetRef"]["name"] for h in of_kind(manifests, "HorizontalPodAutoscaler")}
    assert scaled == {"tael-ingest", "tael-query"}
    assert {d["metadata"]["name"] for d in of_kind(manifests, "Deployment") if "replicas" not in d["spec"]} == scaled


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({**BACKENDS, "clickhouse": {"urls": []}}, "clickhouse.urls"),
        ({"evaluation": {"enabled": False}}, "evaluation.enabled=false needs nats.url"),
        ({"nats": {"url": "nats://nats:4222"}}, "evaluation.enabled=false with them"),
        ({"evaluation": {"nats": {"image": "nats"}}}, "image"),
        ({"image": {"repository": ""}}, r"docker build .*\n.*docker push"),
        ({"settings": {"TAEL_NO_SUCH": "1"}}, "TAEL_NO_SUCH"),
        ({"query": {"settings": {"TAEL_NO_SUCH": "1"}}}, "TAEL_NO_SUCH"),
        ({"settings": {"TAEL_TRACE_RETENTION_DAYS": 30}}, "TAEL_TRACE_RETENTION_DAYS"),
        ({"gateway": {"enabled": True}}, "parentRefs"),
        ({"clickhouse": {"urls": ["clickhouse:8123"]}}, "urls"),
        ({"clickhouse": {"urls": ["http://u:p@clickhouse:8123"]}}, "urls"),
        ({"nats": {"url": "nats://user:word@nats:4222"}}, "url"),
        ({"nats": {"url": "http://nats:4222"}}, "url"),
        ({"image": {**IMAGE, "tag": "latest"}}, "tag"),
        ({"wal": {"replicas": 2}}, "replicas"),
        ({"wal": {"maxBytes": "a lot"}}, "maxBytes"),
        ({"ingest": {"replicas": 0}}, "replicas"),
        ({"ingest": {"replicaz": 2}}, "replicaz"),
        ({"logLevel": "loud"}, "logLevel"),
        ({"settings": {"LOG_LEVEL": "debug"}}, "LOG_LEVEL"),
        ({"settings": {"TAEL_NATS_URL": "nats://other:4222"}}, "TAEL_NATS_URL"),
        ({"ingest": {"settings": {"TAEL_S3_URL": "http://other"}}}, "TAEL_S3_URL"),
        ({"ingest": {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}}}, "minReplicas"),
        ({"ingress": {"enabled": True}}, "queryHost"),
        ({"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}, "scraped twice"),
        ({"settings": {"TAEL_DRAIN_SECS": 60}}, r"terminationGracePeriodSeconds: 60 is too short.* 75 or more"),
        ({"ingest": {"settings": {"TAEL_DRAIN_SECS": "60"}}}, "terminationGracePeriodSeconds"),
        ({"ingest": {"terminationGracePeriodSeconds": 20}}, "terminationGracePeriodSeconds"),
        ({"datasources": {"token": "no variable"}}, "token"),
        ({"nats": {"credentials": {"existing": "keys"}}}, "nats.credentials is not for evaluation"),
        ({"s3": {"auth": "role"}}, "s3.auth=role is not for evaluation"),
        ({"tls": {"clientCa": True}}, "tls.clientCa needs tls.existing"),
        ({"trust": {"existing": "ca"}}, r"trust.existing is not for evaluation mode(.*\n){2}.*s3.url=https"),
        ({"query": {"autoscaling": {"metrics": [{"type": "Object", "name": "x", "averageValue": 1}]}}}, "type"),
        ({"query": {"autoscaling": {"metrics": [{"type": "Pods", "name": "x"}]}}}, "averageValue"),
        ({"trust": {"clientCert": True}}, "trust.clientCert needs trust.existing"),
        ({"typo": 1}, "typo"),
    ],
)
def test_bad_values_are_refused_by_name(values: dict[str, Any], names: str) -> None:
    with pytest.raises(helm_python.HelmError, match=names):
        render({"image": IMAGE, **values})


def test_evaluation_brings_what_the_services_need_and_nothing_is_published() -> None:
    manifests = render(VALUES["default"])
    assert {s["metadata"]["name"] for s in of_kind(manifests, "StatefulSet")} == {"tael-nats", "tael-clickhouse", "tael-minio"}
    settings = settings_of(manifests)
    assert settings["TAEL_CLICKHOUSE_URLS"] == "http://tael-clickhouse:8123"
    assert settings["TAEL_S3_URL"] == "http://tael-minio:9000"
    (secret,) = of_kind(manifests, "Secret")
    passwords = [secret["stringData"][key] for key in ("NATS_PASSWORD", "TAEL_CLICKHOUSE_PASSWORD", "TAEL_S3_SECRET_KEY")]
    assert len(set(passwords)) == 3
    assert min(map(len, passwords)) == 32
    assert secret["stringData"]["TAEL_NATS_URL"] == f"nats://tael:{passwords[0]}@tael-nats:4222"
    assert {s["spec"].get("type", "ClusterIP") for s in of_kind(manifests, "Service")} == {"ClusterIP"}
    for image in (s["spec"]["template"]["spec"]["containers"][0]["image"] for s in of_kind(manifests, "StatefulSet")):
        assert pinned(image)


def test_the_bundled_backends_are_configured_as_composes_are() -> None:
    for ours, theirs in (
        ("nats.conf", "nats/nats.conf"),
        ("clickhouse-config.xml", "clickhouse/config.xml"),
        ("clickhouse-users.xml", "clickhouse/users.xml"),
    ):
        assert (CHART / "files" / ours).read_text() == (DEPLOY / theirs).read_text()
    sources = "datasources/tael.yaml"
    assert (CHART / "files" / sources).read_text() == (DEPLOY / "grafana/provisioning" / sources).read_text()
    dashboards = {path.name: path.read_text() for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")}
    assert {path.name: path.read_text() for path in (CHART / "files" / "dashboards").glob("*.json")} == dashboards
    images = {
        name: part["image"]
        for name, part in yaml.safe_load((CHART / "values.yaml").read_text())["evaluation"].items()
        if isinstance(part, dict)
    }
    for name, service in compose("docker-compose.yml").items():
        if name in images:
            assert images[name].removeprefix("docker.io/").removeprefix("library/") == filled(service["image"])


def test_strangers_are_kept_out_unless_they_are_named() -> None:
    """Clients reach the receivers and the API; only this release reaches the backends and the internal ports."""
    default = {p["metadata"]["name"]: p["spec"] for p in of_kind(render(VALUES["default"]), "NetworkPolicy")}
    assert set(default) == {f"tael-{name}" for name in SERVICES | {"nats", "clickhouse", "minio"}}
    release = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "tael", "app.kubernetes.io/instance": "tael"}}}
    for name in ("nats", "clickhouse", "minio"):
        assert [rule["from"] for rule in default[f"tael-{name}"]["ingress"]] == [[release]]
    clients, internal = default["tael-query"]["ingress"]
    assert clients == {"from": [release, {"podSelector": {}}], "ports": [{"port": port, "protocol": "TCP"} for port in ("api", "grpc")]}
    assert internal == {"from": [release], "ports": [{"port": "internal", "protocol": "TCP"}]}
    named = {p["metadata"]["name"]: p["spec"] for p in of_kind(render(VALUES["everything on"]), "NetworkPolicy")}
    assert named["tael-query"]["ingress"][0]["from"] == [release, {"namespaceSelector": {}}]
    assert {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}} in named["tael-compactor"]["ingress"][0]["from"]


def test_a_pod_is_shaped_by_its_services_values() -> None:
    deployments = {d["metadata"]["name"]: d["spec"]["template"] for d in of_kind(render(VALUES["everything on"]), "Deployment")}
    ingest, query = deployments["tael-ingest"], deployments["tael-query"]
    (container,) = ingest["spec"]["containers"]
    assert container["image"] == "mirror.example/hub/obs/tael@sha256:" + "0" * 64
    assert {"name": "SSL_CERT_FILE", "value": "/ca/ca.pem"} in container["env"]
    assert {"name": "ca", "mountPath": "/ca", "readOnly": True} in container["volumeMounts"]
    assert {"name": "ca", "configMap": {"name": "ca"}} in ingest["spec"]["volumes"]
    assert ingest["spec"]["initContainers"][0]["name"] == "wait"
    assert (ingest["metadata"]["annotations"]["a"], "a" in query["metadata"]["annotations"]) == ("b", False)
    assert (container["livenessProbe"]["failureThreshold"], container["readinessProbe"]["periodSeconds"]) == (9, 7)
    assert (ingest["spec"]["securityContext"]["runAsUser"], query["spec"]["securityContext"]["runAsUser"]) == (20000, 10001)
    assert (ingest["spec"]["priorityClassName"], ingest["spec"]["nodeSelector"]) == ("high", {"pool": "ingest"})
    assert "priorityClassName" not in query["spec"]
    images = {s["spec"]["template"]["spec"]["containers"][0]["image"] for s in of_kind(render(VALUES["everything on"]), "StatefulSet")}
    assert all(image.startswith("mirror.example/hub/") and image.count(".io/") == 0 for image in images)


def test_dockerfile_builds_anywhere() -> None:
    """No frontend to fetch, no digests, no registry hosts, and nothing that the legacy builder does not know."""
    text = (DEPLOY / "Dockerfile").read_text()
    assert not re.search(r"^# *syntax|<<|--link|--mount|@sha256", text, re.MULTILINE)
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - set(re.findall(r" AS (\S+)$", text, re.MULTILINE))
    assert bases == {"python:3.11-slim"}
    for target in ("tael", "local"):
        stage = text.split(f"FROM base AS {target}\n")[1].split("\nFROM ")[0]
        assert "USER 10001:10001" in stage
        assert "--require-hashes" not in stage
