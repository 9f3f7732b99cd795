"""Checks that the public ports are free, and chooses the internal ports of the suite's processes.

Internal ports are chosen at the first start and saved in the data directory. They lie below the range that the system uses for outgoing
connections, so that a restart finds them free again. While the suite runs they are reserved, so that another supervisor on this machine
does not choose one whose process is still to start.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from services.serve.plan import HOST, S3_GRPC_OFFSET, port_names
from services.serve.settings import ServeSettings
from tael.runtime.config import Address
from tael.runtime.service import CannotStart, PortTaken, listening

_LOW, _HIGH = 10_240, 32_767


def resolve_public(settings: ServeSettings) -> ServeSettings:
    """The settings with every public port checked and final. Raises PortTaken with one line for all ports in use."""
    taken: list[str] = []
    found: dict[str, Address] = {}
    fields = {"otlp_grpc_addr": "the OTLP gRPC", "otlp_http_addr": "the OTLP HTTP", "rest_api_addr": "the REST API"}
    fields |= {"grpc_api_addr": "the gRPC API"} if settings.grpc_api_addr is not None else {}
    for name, what in fields.items():
        address: Address = getattr(settings, name)
        try:
            with listening(what, address, str(type(settings).model_fields[name].alias)):
                found[name] = Address(address.host, _bind(address))
        except PortTaken as error:
            taken.append(str(error))
    if taken:
        raise PortTaken("; ".join(taken))
    return settings.model_copy(update=found)


def resolve_datadog(settings: ServeSettings) -> tuple[ServeSettings, str]:
    """The settings with the Datadog agent's port checked and final, and ""; or without that port, and why: an agent may already
    run here.
    """
    address = settings.dd_agent_addr
    if address is None:
        return settings, ""
    try:
        with listening("the Datadog agent's", address, "TAEL_DD_AGENT_ADDR"):
            return settings.model_copy(update={"dd_agent_addr": Address(address.host, _bind(address))}), ""
    except PortTaken as error:
        return settings.model_copy(update={"dd_agent_addr": None}), f"Datadog's tracers are not received: {error}"


def internal_ports(settings: ServeSettings, remembered: Path) -> dict[str, int]:
    """A free port for each name of the plan: the remembered one if it is still free. Writes ``remembered`` when a port changed."""
    old: dict[str, int] = json.loads(remembered.read_text()) if remembered.exists() else {}
    public = {settings.otlp_grpc_addr.port, settings.otlp_http_addr.port, settings.rest_api_addr.port}
    public |= {address.port for address in (settings.dd_agent_addr, settings.grpc_api_addr) if address is not None}
    ports = choose(port_names(settings), old, lambda port: port not in public and _is_free(port, ours=port in old.values()))
    if ports != old:
        remembered.write_text(json.dumps(ports, indent=1) + "\n")
    return ports


def choose(names: Iterable[str], old: dict[str, int], is_free: Callable[[int], bool]) -> dict[str, int]:
    """A distinct free port for each name: the one in ``old`` if it is free, else a random one. Raises CannotStart when none is found."""
    used: set[int] = set()
    ports: dict[str, int] = {}

    def fits(name: str, port: int) -> bool:
        # The admin's gRPC port is derived from this one, so both must be free.
        needed = {port, port + S3_GRPC_OFFSET} if name == "s3-admin" else {port}
        return not needed & used and all(is_free(p) for p in needed)

    for name in names:
        port = old.get(name, 0)
        top = _HIGH - S3_GRPC_OFFSET if name == "s3-admin" else _HIGH
        for _ in range(2000):
            if port and fits(name, port):
                break
            port = random.randint(_LOW, top)
        else:
            raise CannotStart(f"no free port was found between {_LOW} and {top}")
        used |= {port, port + S3_GRPC_OFFSET} if name == "s3-admin" else {port}
        ports[name] = port
    return ports


@contextlib.contextmanager
def reserved(ports: dict[str, int]) -> Iterator[None]:
    """Keep these ports from others that look for a free one while the block runs: each is bound, and nobody listens. Servers set
    SO_REUSEADDR, as this does, so the process that a port is meant for can listen all the same.
    """
    with contextlib.ExitStack() as held:
        for port in (*ports.values(), ports["s3-admin"] + S3_GRPC_OFFSET):
            holder = held.enter_context(_socket(HOST))
            # Whoever took the port in the meantime is reported by the process that cannot listen on it.
            with contextlib.suppress(OSError):
                holder.bind((HOST, port))
        yield


def _is_free(port: int, *, ours: bool) -> bool:
    """Whether nobody listens on the port. On one that was not ``ours`` before, nothing may be bound either: others reserve ports, and on
    our own, connections of the last run may still be closing.
    """
    try:
        if ours:
            _bind(Address(HOST, port))
        else:
            with socket.socket() as probe:
                probe.bind((HOST, port))
    except OSError:
        return False
    return True


def _bind(address: Address) -> int:
    with _socket(address.host) as probe:
        probe.bind((address.host, address.port))
        probe.listen(1)
        return int(probe.getsockname()[1])


def _socket(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made
