"""The tokens file at work: read at the start, read again when it changes, asked for every request; and what refuses to be open.

A file that is bad at the start refuses the process. One that turns bad later is logged, and the tokens before it stay.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from tael.auth import Tokens, authorize, parse_tokens
from tael.errors import BadSettings, Rejected
from tael.runtime.config import Address, OptionalPath, Settings, Switch
from tael.runtime.observe import get_logger

log = get_logger("access")
TOKENS_FILE, ALLOW_OPEN = "TAEL_TOKENS_FILE", "TAEL_ALLOW_OPEN"
_LOOK_EVERY_SECONDS = 1.0


class AccessSettings(Settings):
    """Who may call."""

    tokens_file: OptionalPath = Field(
        default=None,
        alias=TOKENS_FILE,
        description="Bearer tokens with their tenant and scopes, as docs/operations.md shows; read again when it changes. Without it callers are not told apart.",
    )
    allow_open: Switch = Field(
        default=False,
        alias=ALLOW_OPEN,
        description="Listen beyond loopback without tokens all the same, for networks that are trusted.",
    )

    def refuse_open(self, listeners: Mapping[str, Address | None]) -> None:
        """Raise ValueError when one of the listeners, by variable, would let anybody in from elsewhere."""
        if self.tokens_file is not None or self.allow_open:
            return
        for variable, address in listeners.items():
            if address is not None and not is_loopback(address.host):
                raise ValueError(
                    f"{variable}={address} would let anybody in: set {TOKENS_FILE} to a file of tokens,"
                    f" or {ALLOW_OPEN}=true where everybody who can reach it is trusted"
                )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """Decides for every request; ``path`` None lets everybody in. Raises BadSettings for a file that cannot be used."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._tokens: Tokens | None = None
        self._seen: tuple[int, int, int] | None = None
        self._looked_at = time.monotonic()
        if path is not None:
            try:
                self._seen = _stamp(path)
                self._tokens = parse_tokens(path.read_text())
            except (OSError, UnicodeDecodeError, Rejected) as error:
                raise BadSettings([f"{TOKENS_FILE}={str(path)!r} cannot be used: {_why(error)}"]) from error

    def tenant(self, scope: str, authorization: str | None, org_id: str | None) -> str:
        """The tenant that a request with these headers acts for. Raises Unauthenticated, Forbidden or Rejected."""
        if self._path is not None and time.monotonic() - self._looked_at > _LOOK_EVERY_SECONDS:
            self._look(self._path)
        return authorize(self._tokens, scope, authorization, org_id)

    def _look(self, path: Path) -> None:
        self._looked_at = time.monotonic()
        try:
            stamp = _stamp(path)
            if stamp == self._seen:
                return
            self._seen = stamp
            self._tokens = parse_tokens(path.read_text())
        except (OSError, UnicodeDecodeError, Rejected) as error:
            log.warning("the tokens file cannot be used; those before it stay", file=str(path), reason=_why(error))
        else:
            log.info("tokens read again", file=str(path), tokens=len(self._tokens))


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
