"""Authentication by the tokens file, which is reloaded when it changes; and the check that refuses to start without any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from tael.auth import Caller, authorize, parse_tokens
from tael.runtime.config import Address, CommaList, OptionalPath, Settings, Switch
from tael.runtime.origins import is_loopback
from tael.runtime.settings import ConnectionSettings
from tael.runtime.watched import WatchedFile

TOKENS_FILE, ALLOW_OPEN = "TAEL_TOKENS_FILE", "TAEL_ALLOW_OPEN"


class OpenSettings(Settings):
    """Whether to serve without authentication."""

    allow_open: Switch = Field(
        default=False,
        alias=ALLOW_OPEN,
        description="Allow listening on non-loopback addresses without tokens or a password, for trusted networks.",
    )


class AccessSettings(ConnectionSettings, OpenSettings):
    """Who may call."""

    tokens_file: OptionalPath = Field(
        default=None,
        alias=TOKENS_FILE,
        description="File of bearer tokens with their tenants and scopes (format: docs/operations.md); reloaded when it changes. Without it there is no authentication.",
    )

    allowed_hosts: CommaList = Field(
        default=(),
        alias="TAEL_ALLOWED_HOSTS",
        description="Host names, besides those of loopback, under which a loopback listener may be reached, for example through a proxy."
        " Requests for other hosts are refused there, and so are cross-site writes.",
    )

    def refuse_open(self, listeners: Mapping[str, Address | None]) -> None:
        """Raise ValueError when one of the listeners (by variable) would serve other machines without authentication."""
        if self.tokens_file is not None or self.allow_open:
            return
        for variable, address in listeners.items():
            if address is not None and not is_loopback(address.host):
                raise ValueError(
                    f"{variable}={address} would let anybody in: set {TOKENS_FILE} to a file of tokens,"
                    f" or {ALLOW_OPEN}=true where everybody who can reach it is trusted"
                )


class Access:
    """Authorizes requests; with ``path`` None it admits everybody. Raises BadSettings for a file that cannot be used."""

    def __init__(self, path: Path | None) -> None:
        self._tokens = WatchedFile(path, parse_tokens, TOKENS_FILE) if path is not None else None

    def caller(self, scope: str, authorization: str | None, org_id: str | None) -> Caller:
        """The caller of a request with these headers. Raises Unauthenticated, Forbidden or Rejected."""
        return authorize(self._tokens.read() if self._tokens else None, scope, authorization, org_id)

    def tenant(self, scope: str, authorization: str | None, org_id: str | None) -> str:
        """The tenant that the caller acts for. Raises as ``caller`` does."""
        return self.caller(scope, authorization, org_id).tenant
