"""Decides which hosts and origins a loopback listener answers. Pure.

A web page open in a browser on this machine can reach such a listener: through a name that resolves to 127.0.0.1 (DNS rebinding), which
shows in Host, and by a simple POST or a WebSocket, which shows in Origin or Sec-Fetch-Site (Fetch standard, "CORS protocol"; W3C Fetch
Metadata).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on ``host``."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_unregistrable(host: str) -> bool:
    """Whether nobody on the internet can make the name resolve to this machine: an address, a name without a dot, ``.internal`` or
    ``.localhost``.
    """
    if "." not in host or host.endswith((".internal", ".localhost")):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def foreign(method: str, headers: Mapping[str, str], hosts: Collection[str], origins: Collection[str] = ()) -> str:
    """Why a request to a loopback listener is refused; empty when it is not.

    ``hosts`` are further names under which the listener may be reached, ``origins`` those of pages that may send.
    """
    host = host_name(headers.get("Host", ""))
    if host and not (_is_unregistrable(host) or host in hosts):
        return f"this server does not answer for the host {host[:100]!r}; add it to TAEL_ALLOWED_HOSTS if it should"
    # Any site's page can read from a WebSocket: only the server's own check of Origin prevents it (RFC 6455, 10.2).
    if method in _SAFE_METHODS and headers.get("Upgrade", "").lower() != "websocket":
        return ""
    origin = headers.get("Origin")
    if origin is None:
        return "requests of other sites' pages are refused" if headers.get("Sec-Fetch-Site") == "cross-site" else ""
    name = _origin_host(origin)
    if origin in origins or "*" in origins or (name and (is_loopback(name) or name in hosts)):
        return ""
    return f"pages of {origin[:100]!r} may not send here"


def _origin_host(origin: str) -> str:
    """The host name of an origin; empty if it has none, or is malformed."""
    try:
        return host_name(urlsplit(origin).netloc) if "://" in origin else ""
    except ValueError:  # brackets without an IPv6 address, for example
        return ""


def host_name(host: str) -> str:
    """The name in a Host header or an origin's authority, without port and brackets, in lower case."""
    name = host.rpartition("]")[0] if host.startswith("[") else host.rpartition(":")[0] if ":" in host else host
    return name.strip("[]").rstrip(".").lower()
