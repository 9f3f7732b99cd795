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
    """One server: its name, where it keeps its files, and its addresses; ``routes`` is where the others of its cluster reach it."""

    name: str
    directory: Path
    client: Address
    monitor: Address
    routes: Address | None
    monitor_path: str

    @property
    def config_file(self) -> Path:
        """What it is started with."""
        return self.directory / "nats.conf"

    @property
    def monitor_url(self) -> str:
        """Where it is monitored: whoever does not know the path learns nothing there, for nats-server asks nobody for a password."""
        return f"http://{self.monitor}{self.monitor_path}"

    @property
    def ready_url(self) -> str:
        """Answers 200 while it takes what is its to take: of a cluster's server that is all but what it has yet to catch up with."""
        return f"{self.monitor_url}/healthz" + ("?js-server-only=true" if self.routes else "")

    @property
    def live_url(self) -> str:
        """Answers 200 while a restart would not help: a server that waits for the others of its cluster is well."""
        return f"{self.monitor_url}/healthz" + ("?js-enabled-only=true" if self.routes else "")


def nats_names(settings: ServeSettings) -> list[str]:
    """The servers of a plan by name; the first is ``nats``, however many there are."""
    return ["nats", *(f"nats-{number}" for number in range(1, settings.nats_nodes))]


def nats_port_names(settings: ServeSettings) -> list[str]:
    """The ports that they need, by name."""
    kinds = ("", "-monitor", "-routes") if settings.nats_nodes > 1 else ("", "-monitor")
    return [f"{name}{kind}" for name in nats_names(settings) for kind in kinds]


def nats_nodes(settings: ServeSettings, ports: Mapping[str, int], password: str) -> list[NatsNode]:
    """The servers. A cluster has a directory of its own: a server takes no streams along that it kept before it was in one."""
    alone = settings.nats_nodes == 1
    return [
        NatsNode(
            name,
            settings.directory / name if alone else settings.directory / CLUSTER_DIRECTORY / name,
            Address(HOST, ports[name]),
            Address(HOST, ports[f"{name}-monitor"]),
            None if alone else Address(HOST, ports[f"{name}-routes"]),
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
    """How many servers' files a data directory holds; 0 for a new one."""
    if (directory / "nats" / "jetstream").exists():
        return 1
    return len(list((directory / CLUSTER_DIRECTORY).glob("nats*/jetstream")))
