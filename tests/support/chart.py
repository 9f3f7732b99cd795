"""The Helm chart as tests examine it: sets of values, and what it renders of them."""

from __future__ import annotations

from typing import Any

import helm_python
import yaml

from tests.support.deploy import DEPLOY

CHART = DEPLOY / "helm" / "tael"
IMAGE = {"repository": "registry.example/obs/tael"}
BACKENDS = {
    "evaluation": {"enabled": False},
    "nats": {"url": "nats://nats:4222"},
    "clickhouse": {"urls": ["http://clickhouse:8123"]},
    "s3": {"url": "http://minio:9000"},
}
VALUES: dict[str, dict[str, Any]] = {
    "default": {"image": IMAGE},
    "everything on": {
        "global": {"imageRegistry": "mirror.example/hub"},
        "image": {"repository": "obs/tael", "digest": "sha256:" + "0" * 64},
        "evaluation": {"enabled": True, "storageClass": "fast"},
        "retention": {"traceDays": 7, "logDays": 14, "metricDays": 90},
        "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/ca/ca.pem"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": True}],
        "initContainers": [{"name": "wait", "image": "busybox:1.37.0", "command": ["true"]}],
        "probes": {"liveness": {"failureThreshold": 9}},
        "ingest": {
            "podAnnotations": {"a": "b"},
            "nodeSelector": {"pool": "ingest"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "priorityClassName": "high",
            "probes": {"readiness": {"periodSeconds": 7}},
            "podSecurityContext": {"runAsUser": 20000},
        },
        "ingress": {"enabled": True, "queryHost": "tael.example", "otlpGrpcHost": "grpc.example", "grpcAnnotations": {"x": "GRPC"}},
        "gateway": {
            "enabled": True,
            "parentRefs": [{"name": "public"}],
            "queryHosts": ["tael.example"],
            "otlpHttpHosts": ["otlp.example"],
            "otlpGrpcHosts": ["grpc.example"],
        },
        "networkPolicy": {
            "enabled": True,
            "clients": [{"namespaceSelector": {}}],
            "monitoring": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        },
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
        "datasources": {"enabled": True},
    },
    "two shards, own secret, scaled and reachable": {
        **BACKENDS,
        "image": {**IMAGE, "tag": "1.2.3"},
        "imagePullSecrets": [{"name": "pull"}],
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "datasources": {"enabled": True, "token": "TAEL_TOKEN"},
        "clickhouse": {"urls": ["http://ch-0:8123", "https://ch-1:8443"], "user": "tael"},
        "wal": {"replicas": 3, "maxBytes": "32GiB"},
        "nats": {"url": "tls://nats:4222", "credentials": {"existing": "tael-nats", "key": "tael.creds"}},
        "secret": {"existing": "tael-keys"},
        "tokens": {"existing": "tael-tokens"},
        "tls": {"existing": "tael-tls", "clientCa": True},
        "trust": {"existing": "tael-trust", "clientCert": True},
        "s3": {"url": "https://s3.example", "auth": "role"},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/tael"}},
        "ingest": {
            "autoscaling": {
                "enabled": True,
                "metrics": [
                    {"type": "External", "name": "tael_ingest_request_p99_seconds", "averageValue": "250m", "selector": {"cluster": "a"}}
                ],
            },
            "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
            "settings": {"TAEL_MAX_REQUEST_BYTES": "32MiB"},
        },
        "query": {
            "autoscaling": {
                "enabled": True,
                "minReplicas": 3,
                "metrics": [{"type": "Pods", "name": "tael_query_waiting", "averageValue": 2}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
            }
        },
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "queryHost": "tael.example",
            "otlpHttpHost": "otlp.example",
            "tls": [{"hosts": ["tael.example"]}],
        },
    },
    "small, made secret": {
        **BACKENDS,
        "image": IMAGE,
        "networkPolicy": {"enabled": False},
        "coordinator": {"replicas": 1, "resources": {}},
        "secret": {"values": {"TAEL_CLICKHOUSE_PASSWORD": 'p"a: $s', "TAEL_S3_SECRET_KEY": "0123"}},
        "serviceAccount": {"create": False},
        "podDisruptionBudget": {"enabled": False},
        "settings": {"TAEL_MAX_LAG_SECS": 600},
        "podLabels": {"team": "obs"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "priorityClassName": "high",
    },
}


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The manifests."""
    with helm_python.Chart.load(str(CHART)) as chart:
        rendered: dict[str, str] = chart.render(values, name="tael", namespace="obs")
    return [each for path, text in rendered.items() if path.endswith(".yaml") for each in yaml.safe_load_all(text) if each]


def settings_of(manifests: list[dict[str, Any]]) -> dict[str, str]:
    """The settings that all services share."""
    (found,) = [m["data"] for m in of_kind(manifests, "ConfigMap") if m["metadata"]["name"] == "tael"]
    return dict(found)


def of_kind(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The manifests of a kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]
