"""TLS of gRPC listeners: each handshake is made with the newest files."""

from __future__ import annotations

from typing import Any

import grpc

from tael.runtime.tls import ListenerTls


def add_port(server: Any, address: str, tls: ListenerTls | None) -> int:
    """Let a ``grpc.aio`` server listen at ``address``, with TLS where there is one; the port bound. Raises RuntimeError."""
    return int(server.add_insecure_port(address) if tls is None else server.add_secure_port(address, _credentials(tls)))


def _credentials(tls: ListenerTls) -> grpc.ServerCredentials:
    handed_out = tls.pem()
    certificates = _configuration(handed_out)

    def newest() -> Any:
        nonlocal handed_out
        found = tls.pem()
        if found == handed_out:
            return None  # go on with what there is
        handed_out = found
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(certificates, newest, require_client_authentication=tls.asks_clients)


def _configuration(pem: tuple[bytes, bytes, bytes | None]) -> Any:
    key, certificates, client_ca = pem
    return grpc.ssl_server_certificate_configuration([(key, certificates)], client_ca)
