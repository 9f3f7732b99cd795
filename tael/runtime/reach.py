"""The command line's flags for reaching a server. Pure."""

from __future__ import annotations

_DEFAULT_PORT = "7701"


def cli_flags(scheme: str, authority: str) -> str:
    """The flags, with a leading space, for a server whose REST API has this host and port; empty if the defaults suffice."""
    host, _, port = authority.rpartition(":")
    if scheme != "http" or host not in ("127.0.0.1", "localhost"):
        return f" --server {scheme}://{authority}"
    return "" if port == _DEFAULT_PORT else f" --port-rest {port}"
