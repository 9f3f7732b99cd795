"""The configuration files of nats-server and SeaweedFS, as text. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tael.runtime.config import Address

MAX_PAYLOAD_BYTES = 8 << 20
MAX_FILE_BYTES = 1 << 50


@dataclass(frozen=True, slots=True)
class NatsRoutes:
    """The route addresses of a NATS cluster: this server's own, and those of all servers."""

    own: Address
    all: tuple[Address, ...]


def nats_conf(
    *,
    client: Address,
    monitor: Address,
    store: Path,
    user: str,
    password: str,
    name: str = "tael",
    monitor_path: str = "",
    routes: NatsRoutes | None = None,
) -> str:
    """The configuration of a JetStream server that fsyncs before it acknowledges: without ``sync_interval: always`` a power cut could lose
    the last two minutes.

    ``max_file`` is set because its default is a share of the disk space that is free at the start: a server started on a full disk would
    refuse streams until the next start. TAEL_MIN_FREE_BYTES watches the disk instead.
    """
    return f"""\
server_name: {name}
listen: {json.dumps(str(client))}
http: {json.dumps(str(monitor))}
http_base_path: {json.dumps(monitor_path)}
max_payload: {MAX_PAYLOAD_BYTES}
authorization {{
  user: {json.dumps(user)}
  password: {json.dumps(password)}
}}
jetstream {{
  store_dir: {json.dumps(str(store))}
  sync_interval: always
  max_file: {MAX_FILE_BYTES}
}}
{_cluster(routes, user, password) if routes else ""}"""


def _cluster(routes: NatsRoutes, user: str, password: str) -> str:
    urls = ", ".join(json.dumps(f"nats://{user}:{password}@{address}") for address in routes.all)
    return f"""\
cluster {{
  name: tael
  listen: {json.dumps(str(routes.own))}
  authorization {{
    user: {json.dumps(user)}
    password: {json.dumps(password)}
  }}
  routes: [{urls}]
}}
"""


def s3_identities(access_key: str, secret_key: str) -> str:
    """SeaweedFS's identities file: one identity with all rights; anonymous requests have none."""
    identity = {
        "name": "tael",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return json.dumps({"identities": [identity]}, indent=2) + "\n"


_SEAWEEDFS_SERVERS = ("VOLUME", "MASTER", "FILER", "S3", "ADMIN", "WORKER", "MSG_BROKER", "MSG_AGENT", "IAM")


def seaweedfs_security(certificate: Path, key: Path, signing_key: str) -> dict[str, str]:
    """The environment that makes SeaweedFS's parts require mutual TLS and signed requests of each other.

    Without it, whoever reaches the port of the filer, master or volume server can read, write and delete objects without S3 credentials.
    """
    own = {"CERT": str(certificate), "KEY": str(key)}
    settings = {"WEED_GRPC_CA": str(certificate), "WEED_HTTPS_CLIENT_ENABLED": "true", "WEED_HTTPS_CLIENT_CA": str(certificate)}
    for part in (*_SEAWEEDFS_SERVERS, "CLIENT"):
        settings |= {f"WEED_GRPC_{part}_{name}": path for name, path in own.items()}
    for part in ("VOLUME", "MASTER", "FILER", "ADMIN", "CLIENT"):
        settings |= {f"WEED_HTTPS_{part}_{name}": path for name, path in {**own, "CA": str(certificate)}.items()}
    for use in ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ"):
        settings[f"WEED_JWT_{use}_KEY"] = signing_key
    return settings
