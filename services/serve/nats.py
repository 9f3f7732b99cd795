"""The NATS servers of a plan: one, or a cluster of three or five. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.serve.configs import NatsRoutes, nats_conf
from services.serve.credentials import NATS_USER
from services.serve.settings import ServeSettings
from tael.runtime.config import Address

HOST = "127.0.0.1"
CLUSTER_DIRECTORY = "nats-cluster"


@dataclass(frozen=True, slots=True)
class NatsNode:
    """One server: its name, its directory and its addresses; ``routes`` is for the other servers of its cluster, None without one."""

    name: str
    directory: Path
    client: Address
    monitor: Address
    routes: Address | None
    monitor_path: str

    @property
    def config_file(self) -> Path:
        """The configuration file it is started with."""
        return self.directory / "nats.conf"

    @property
    def monitor_url(self) -> str:
        """Its monitoring URL. The path is secret, as nats-server's monitoring has no other authentication."""
        return f"http://{self.monitor}{self.monitor_path}"

    @property
    def ready_url(self) -> str:
        """Answers 200 while the server works; in a cluster, regardless of streams that it has yet to catch up with."""
        return f"{self.monitor_url}/healthz" + ("?js-server-only=true" if self.routes else "")

    @property
    def live_url(self) -> str:
        """Answers 200 unless a restart may help: a server that waits for the others of its cluster counts as live."""
        return f"{self.monitor_url}/healthz" + ("?js-enabled-only=true" if self.routes else "")


def nats_names(settings: ServeSettings) -> list[str]:
    """The names of the plan's servers; the first is always ``nats``."""
    return ["nats", *(f"nats-{number}" for number in range(1, settings.nats_nodes))]


def nats_port_names(settings: ServeSettings) -> list[str]:
    """The names of the ports that the servers need."""
    kinds = ("", "-monitor", "-routes") if settings.nats_nodes > 1 else ("", "-monitor")
    return [f"{name}{kind}" for name in nats_names(settings) for kind in kinds]


def nats_nodes(settings: ServeSettings, ports: Mapping[str, int], password: str) -> list[NatsNode]:
    """The plan's servers. A cluster uses a directory of its own: a server cannot bring streams from its time alone into a cluster."""
    alone = settings.nats_nodes == 1
    return [
        NatsNode(
            name,
            settings.directory / name if alone else settings.directory / CLUSTER_DIRECTORY / name,
            Address(HOST, ports[name]),
            Address(HOST, ports[f"{name}-monitor"]),
            None if alone else Address(HOST, ports[f"{name}-routes"]),
            # Derived from the password, so that it is secret and the same after a restart.
            f"/{hashlib.sha256(f'monitor {password}'.encode()).hexdigest()}",
        )
        for name in nats_names(settings)
    ]


def nats_files(nodes: list[NatsNode], password: str) -> dict[Path, str]:
    """The configuration of each server."""
    routes = tuple(node.routes for node in nodes if node.routes)
    return {
        node.config_file: nats_conf(
            name=node.name if node.routes else "tael",
            client=node.client,
            monitor=node.monitor,
            monitor_path=node.monitor_path,
            store=node.directory / "jetstream",
            user=NATS_USER,
            password=password,
            routes=NatsRoutes(node.routes, routes) if node.routes else None,
        )
        for node in nodes
    }


def nats_nodes_there(directory: Path) -> int:
    """The number of NATS servers that a data directory has files of; 0 for a new one."""
    if (directory / "nats" / "jetstream").exists():
        return 1
    return len(list((directory / CLUSTER_DIRECTORY).glob("nats*/jetstream")))
