"""What every gRPC listener shares: connection limits, binding, the health service, and refusing calls."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import grpc
import grpc.aio
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tael.runtime.config import Address
from tael.runtime.service import listening
from tael.runtime.settings import GrpcConnectionSettings, ListenerTlsSettings
from tael.runtime.tls import ListenerTls

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_REFUSING_SECONDS = 0.25
MAX_STREAMS: Final = 256
"""The maximum number of concurrent calls on one connection."""


def options(limits: GrpcConnectionSettings) -> list[tuple[str, int]]:
    """The gRPC options of a listener's connections."""
    return [
        # Otherwise a second process could bind the same port, and the kernel would silently distribute connections between the two.
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.server_handshake_timeout_ms", _ms(limits.header_seconds)),
        ("grpc.max_connection_idle_ms", _ms(limits.grpc_idle_seconds)),
        ("grpc.max_connection_age_ms", _ms(limits.grpc_max_age_seconds)),
        ("grpc.max_connection_age_grace_ms", _ms(limits.grpc_age_grace_seconds)),
        # A client that vanished without closing (a suspended laptop, an expired NAT entry) would hold its streams for ever.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(limits.grpc_min_ping_seconds)),
        # 0 means no limit: the interval above bounds the rate of pings, and exporters ping while they are idle.
        ("grpc.http2.max_pings_without_data", 0),
    ]


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


class Server:
    """A gRPC server of the named services, with gRPC's standard health service, which reports SERVING for all of them until ``end``.

    It implements Behind: another listener may hand connections to it.
    """

    def __init__(self, handlers: Mapping[str, Any], options: Sequence[tuple[str, int]], *, drain_seconds: float) -> None:
        self._server = grpc.aio.server(options=options)
        self._draining = asyncio.Event()
        self._server.add_generic_rpc_handlers(tuple(_Draining(each, self._draining) for each in handlers.values()))
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = ("", *handlers)
        self._drain_seconds = drain_seconds
        self._address: Address | None = None

    @property
    def address(self) -> Address:
        """The address bound, with the port that the system chose."""
        assert self._address is not None
        return self._address

    @contextlib.asynccontextmanager
    async def listening(self, address: Address, settings: ListenerTlsSettings, *, what: str, variable: str) -> AsyncIterator[Address]:
        """Listen while the block runs, with TLS if the settings ask for it, then finish accepted calls. Yields the address bound.

        Raises PortTaken, and BadSettings for certificates that cannot be used.
        """
        tls = ListenerTls.of(settings)
        with listening(what, address, variable):
            self._address = Address(address.host, _bind(self._server, address, tls))
        await self._server.start()
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        try:
            yield self._address
        finally:
            await self.end()

    async def end(self) -> None:
        """Accept no more calls, and return when the accepted ones have ended or the drain time is over. Calling it again does nothing.

        For a moment new calls are refused with UNAVAILABLE, so that clients back off and retry. After its stop, gRPC itself would answer
        them with CANCELLED, the status of a call that the client gave up.
        """
        if not self._draining.is_set():
            self._draining.set()
            await self._health.enter_graceful_shutdown()
            await asyncio.sleep(_REFUSING_SECONDS)
        await self._server.stop(self._drain_seconds)


class _Draining(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """A service's handlers until the drain begins; from then on a handler that refuses every call, unary or streaming."""

    def __init__(self, handlers: Any, draining: asyncio.Event) -> None:
        self._handlers, self._draining = handlers, draining

    def service(self, handler_call_details: Any) -> Any:
        """See grpc.GenericRpcHandler."""
        return _REFUSING if self._draining.is_set() else self._handlers.service(handler_call_details)


async def _refuse(_: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "this server is shutting down: send again")


_REFUSING: Final = grpc.stream_stream_rpc_method_handler(_refuse)


async def abort(context: Any, status: Status) -> None:
    """Refuse a call with this status, including its details."""
    await context.abort(_CODES[status.code], status.message, (("grpc-status-details-bin", status.SerializeToString()),))


def _bind(server: Any, address: Address, tls: ListenerTls | None) -> int:
    family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:  # its error gives the reason; gRPC only reports that binding failed
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(where)
    try:
        port = server.add_insecure_port(str(address)) if tls is None else server.add_secure_port(str(address), _credentials(tls))
        return int(port)
    except RuntimeError as error:
        raise OSError(0, str(error)) from error


def _credentials(tls: ListenerTls) -> grpc.ServerCredentials:
    """Credentials that use the newest files for each handshake."""
    handed_out = tls.pem()
    certificates = _configuration(handed_out)

    def newest() -> Any:
        nonlocal handed_out
        found = tls.pem()
        if found == handed_out:
            return None  # keep the current certificates
        handed_out = found
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(certificates, newest, require_client_authentication=tls.asks_clients)


def _configuration(pem: tuple[bytes, bytes, bytes | None]) -> Any:
    key, certificates, client_ca = pem
    return grpc.ssl_server_certificate_configuration([(key, certificates)], client_ca)
