"""What every gRPC listener shares: how long connections live, and how an address is bound."""

from __future__ import annotations

import socket
from typing import Any, Final

from tael.runtime.config import Address
from tael.runtime.grpc_tls import add_port
from tael.runtime.service import listening
from tael.runtime.settings import ConnectionSettings, ListenerTlsSettings
from tael.runtime.tls import ListenerTls

_IDLE_MS, _AGE_MS, _AGE_GRACE_MS = 300_000, 1_800_000, 30_000
"""Clients connect anew after half an hour, which spreads them over processes; a call that stalls ends with its connection."""
MAX_STREAMS: Final = 256
"""Calls at a time on one connection."""


def options(limits: ConnectionSettings) -> list[tuple[str, int]]:
    """The options of a listener's connections."""
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.server_handshake_timeout_ms", int(limits.header_seconds * 1000)),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        ("grpc.max_connection_age_ms", _AGE_MS),
        ("grpc.max_connection_age_grace_ms", _AGE_GRACE_MS),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def bind(server: Any, address: Address, settings: ListenerTlsSettings, *, what: str, variable: str) -> Address:
    """Bind a server that is not started yet, with TLS where it is asked for; the address has the port that the system chose.

    Raises PortTaken, and BadSettings for certificates that cannot be used.
    """
    tls = ListenerTls.of(settings)
    with listening(what, address, variable):
        return Address(address.host, _bind(server, address, tls))


def _bind(server: Any, address: Address, tls: ListenerTls | None) -> int:
    family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:  # tells why; gRPC only says that it failed
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(where)
    try:
        return add_port(server, str(address), tls)
    except RuntimeError as error:
        raise OSError(0, str(error)) from error
