"""Three real nats-servers as a cluster, each in its own network namespace if this machine allows it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tael.runtime.settings import NatsSettings
from tests.support.nats import NatsServer
from tests.support.ports import free_port
from tests.support.suite import until

_NODES = 3
_NETWORK = "10.231.77"


def can_cut_networks() -> bool:
    """Whether this process may create network namespaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"probe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=True)
    return True


class Networks:
    """A bridge and a network namespace for each node, which can be cut off."""

    def __init__(self) -> None:
        self._id = os.getpid() % 100_000
        self.hosts = [f"{_NETWORK}.{11 + node}" for node in range(_NODES)]

    def __enter__(self) -> Self:
        self._ip("link", "add", self._bridge, "type", "bridge")
        self._ip("addr", "add", f"{_NETWORK}.1/24", "dev", self._bridge)
        self._ip("link", "set", self._bridge, "up")
        for node, host in enumerate(self.hosts):
            inside = ("netns", "exec", self._space(node), "ip")
            self._ip("netns", "add", self._space(node))
            self._ip("link", "add", self._cable(node), "type", "veth", "peer", "name", "eth0", "netns", self._space(node))
            self._ip("link", "set", self._cable(node), "master", self._bridge)
            self._ip("link", "set", self._cable(node), "up")
            self._ip(*inside, "addr", "add", f"{host}/24", "dev", "eth0")
            self._ip(*inside, "link", "set", "eth0", "up")
            self._ip(*inside, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        # A namespace takes its end of a cable along only some time after it is deleted.
        for name in (*(self._cable(node) for node in range(_NODES)), self._bridge):
            self._ip("link", "del", name)
        for node in range(_NODES):
            self._ip("netns", "del", self._space(node))

    def launcher(self, node: int) -> tuple[str, ...]:
        """The command prefix that runs a program in the node's namespace."""
        return ("ip", "netns", "exec", self._space(node))

    def cut(self, node: int) -> None:
        """Cut the node off from the network in both directions."""
        self._ip("link", "set", self._cable(node), "down")

    def join(self, node: int) -> None:
        """Connect the node to the network again."""
        self._ip("link", "set", self._cable(node), "up")

    @property
    def _bridge(self) -> str:
        return f"tb{self._id}"

    def _space(self, node: int) -> str:
        return f"tael{self._id}-{node}"

    def _cable(self, node: int) -> str:
        return f"tc{self._id}-{node}"

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)


class NatsCluster:
    """Three nodes with routes between them."""

    def __init__(self, directory: Path, networks: Networks | None = None) -> None:
        hosts = networks.hosts if networks else ["127.0.0.1"] * _NODES
        routes = [free_port() for _ in hosts]
        urls = ", ".join(f'"nats://{host}:{port}"' for host, port in zip(hosts, routes, strict=True))
        self.nodes = [
            NatsServer(
                directory / f"n{node}",
                host=host,
                cluster=f"server_name: n{node}\ncluster {{ name: test, listen: {host}:{routes[node]}, routes: [{urls}] }}",
                launcher=networks.launcher(node) if networks else (),
            )
            for node, host in enumerate(hosts)
        ]
        self._directory = directory

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.await_health()
        until(self.leader_of_all, "a leader of the cluster")
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()

    @property
    def monitor_urls(self) -> list[str]:
        """Each node's monitoring URL."""
        return [node.monitor_url for node in self.nodes]

    def settings(self) -> NatsSettings:
        """The settings for connecting to the cluster."""
        return NatsSettings.model_validate({"TAEL_NATS_URL": ",".join(node.url for node in self.nodes)})

    def leader_of_all(self) -> int | None:
        """The node that is the cluster's meta leader, or None while there is none."""
        return self._number(self._jsz().get("meta_cluster", {}).get("leader"))

    def leader_of(self, stream: str) -> int | None:
        """The node that is the stream's leader, or None while there is none."""
        found = self._stream(stream)
        return self._number(found.get("cluster", {}).get("leader")) if found else None

    def current(self, stream: str) -> bool:
        """Whether every replica of a stream is current."""
        found = self._stream(stream)
        replicas = found.get("cluster", {}).get("replicas", []) if found else []
        return len(replicas) == _NODES - 1 and all(r.get("current") and not r.get("offline") for r in replicas)

    def wipe(self, node: int) -> None:
        """Delete the data of a node that does not run."""
        shutil.rmtree(self._directory / f"n{node}" / "jetstream")

    def _stream(self, stream: str) -> dict[str, Any] | None:
        for account in self._jsz("?streams=true&accounts=true&leader-only=false").get("account_details", []):
            for detail in account.get("stream_detail") or []:
                if detail["name"] == stream:
                    leader = self._number(detail.get("cluster", {}).get("leader"))
                    return self._detail(stream, leader) if leader is not None else None
        return None

    def _detail(self, stream: str, node: int) -> dict[str, Any] | None:
        """A stream's state according to its leader, which alone knows which replicas are current."""
        with contextlib.suppress(OSError):
            for account in _read(f"{self.nodes[node].monitor_url}/jsz?streams=true&accounts=true").get("account_details", []):
                for detail in account.get("stream_detail") or []:
                    if detail["name"] == stream:
                        return dict(detail)
        return None

    def _jsz(self, query: str = "") -> dict[str, Any]:
        for node in self.nodes:
            with contextlib.suppress(OSError):
                return _read(f"{node.monitor_url}/jsz{query}")
        return {}

    @staticmethod
    def _number(name: object) -> int | None:
        return int(name[1:]) if isinstance(name, str) and name else None


def _read(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # a loopback or private http URL
        found: dict[str, Any] = json.load(answer)
        return found


@contextlib.contextmanager
def nats_cluster(directory: Path) -> Iterator[tuple[NatsCluster, Networks | None]]:
    """A running cluster, in network namespaces if this machine allows it."""
    with contextlib.ExitStack() as stack:
        networks = stack.enter_context(Networks()) if can_cut_networks() else None
        yield stack.enter_context(NatsCluster(directory, networks)), networks
