"""TLS of listeners and of client connections. The files are watched (tael/runtime/watched.py), and new connections use their newest
content.
"""

from __future__ import annotations

import ssl

from tael.runtime.settings import ListenerTlsSettings, TrustSettings
from tael.runtime.watched import WatchedFiles, reason


class ListenerTls:
    """The TLS (1.2 or newer) of a listener; with a client CA, only clients with a certificate from it may connect.

    Raises BadSettings for files that cannot be used.
    """

    def __init__(self, settings: ListenerTlsSettings) -> None:
        assert settings.tls_cert is not None
        assert settings.tls_key is not None
        self._cert, self._key, self._client_ca = settings.tls_cert, settings.tls_key, settings.tls_client_ca
        files = {"TAEL_TLS_CERT": self._cert, "TAEL_TLS_KEY": self._key}
        if self._client_ca is not None:
            files["TAEL_TLS_CLIENT_CA"] = self._client_ca
        self._contexts = WatchedFiles(files, self._context, _why)

    @classmethod
    def of(cls, settings: ListenerTlsSettings) -> ListenerTls | None:
        """The TLS of a listener's settings; None if they name no certificate."""
        return cls(settings) if settings.tls_cert is not None else None

    @property
    def asks_clients(self) -> bool:
        """Whether clients need a certificate."""
        return self._client_ca is not None

    def context(self) -> ssl.SSLContext:
        """A context for a listener, which uses the newest files for each handshake."""
        listening = self._context()

        def renew(connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
            connection.context = self._contexts.read()

        # OpenSSL calls this for every handshake, with or without SNI, and lets it replace the connection's context.
        listening.sni_callback = renew
        return listening

    def pem(self) -> tuple[bytes, bytes, bytes | None]:
        """The newest usable key, certificates and client CA (PEM), for a listener that does not use ``ssl``."""
        self._contexts.read()
        return self._pem

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert, self._key)
        # aiohttp only speaks HTTP/1: a client that also offers h2 must not choose it.
        context.set_alpn_protocols(["http/1.1"])
        authority = self._client_ca.read_bytes() if self._client_ca is not None else None
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca)
            # A resumed session would not present its certificate again, even if its CA is no longer trusted.
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
        self._pem = (self._key.read_bytes(), self._cert.read_bytes(), authority)
        return context


class ClientTls:
    """The TLS of this process's own connections: the CAs trusted besides the system's, and the client certificate.

    ``context`` stays the same object: a client gets it once, and ``refresh``, called before the client reconnects, loads changed files into
    it. ``generation`` counts the loads, for clients that take only paths. A CA that was removed from the file stays trusted until the
    process restarts. Raises BadSettings for files that cannot be used.
    """

    def __init__(self, settings: TrustSettings) -> None:
        self.settings = settings
        self.generation = 0
        self.context = ssl.create_default_context()
        named = {"TAEL_CA_FILE": settings.ca_file, "TAEL_CLIENT_CERT": settings.client_cert, "TAEL_CLIENT_KEY": settings.client_key}
        files = {name: path for name, path in named.items() if path is not None}
        self._loaded = WatchedFiles(files, self._load, _why)

    def refresh(self) -> None:
        """Load the files again if they have changed."""
        self._loaded.read()

    def _load(self) -> None:
        if self.settings.ca_file is not None:
            self.context.load_verify_locations(self.settings.ca_file)
        if self.settings.client_cert is not None:
            self.context.load_cert_chain(self.settings.client_cert, self.settings.client_key)
        self.generation += 1


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reasons = {"KEY_VALUES_MISMATCH": "the key is not that of the certificate", "NO_CERTIFICATE_OR_CRL_FOUND": "no certificate in PEM"}
        return reasons.get(error.reason or "", error.reason or str(error))
    return reason(error)
