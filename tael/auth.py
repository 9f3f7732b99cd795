"""Authorization: parses the tokens file, and decides about one request. Pure; tael.runtime.access reads the file.

The file is JSON, ``[{"token": "…", "tenant": "shop", "scopes": ["ingest"]}, …]``, or lines of the same three fields::

    # token                          tenant  scopes
    cTnmGJvhv1VqWkq7cXhw             shop    ingest,query
    sha256:9f86d081884c7d659a2feaa…  *       admin,ingest,query

A token may be given as ``sha256:`` and its digest in hex. With the tenant ``*``, X-Scope-OrgID chooses the tenant of each request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tael.errors import Forbidden, Rejected, Unauthenticated
from tael.model.tenant import ANY_TENANT, DEFAULT_TENANT, TENANT_HEADER, parse_tenant

INGEST: Final = "ingest"
QUERY: Final = "query"
ADMIN: Final = "admin"
SCOPES = (INGEST, QUERY, ADMIN)
_MIN_TOKEN_CHARACTERS = 16
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_FIELDS = {"token", "tenant", "scopes"}
_HELP = "an Authorization header with 'Bearer <token>', or Basic with the token as password"


@dataclass(frozen=True, slots=True)
class Grant:
    """The scopes that a token has for ``tenant``, or for every tenant if that is ``*``."""

    tenant: str
    scopes: frozenset[str]


Tokens = Mapping[bytes, Grant]
"""Grants by the SHA-256 of their token."""


def parse_tokens(text: str) -> Tokens:
    """Parse a file's text. Raises Rejected with the place of the first mistake; a file without tokens is a mistake too."""
    tokens: dict[bytes, Grant] = {}
    for where, token, tenant, scopes in _json_entries(text) if text.lstrip()[:1] in ("[", "{") else _line_entries(text):
        digest = _digest_in_file(token, where)
        if digest in tokens:
            raise Rejected("duplicate token", where=where)
        tokens[digest] = Grant(_tenant_in_file(tenant, where), _scopes_in_file(scopes, where))
    if not tokens:
        raise Rejected("contains no token", accepted="at least one")
    return tokens


@dataclass(frozen=True, slots=True)
class Caller:
    """The ``tenant`` that a request acts for. ``names_none``: it may act for any tenant but named none, and got the default one."""

    tenant: str
    names_none: bool = False


def authorize(tokens: Tokens | None, scope: str, authorization: str | None, org_id: str | None) -> Caller:
    """The caller of a request, by its Authorization and X-Scope-OrgID headers (None if absent).

    With ``tokens`` None there is no authentication: everybody may do everything, for the tenant that they name. Raises Unauthenticated
    without a known token, Forbidden for a scope or tenant that the token does not have, Rejected for an invalid tenant name.
    """
    wanted = parse_tenant(org_id) if org_id else None
    anyone = Caller(wanted or DEFAULT_TENANT, names_none=wanted is None)
    if tokens is None:
        return anyone
    # Bytes of a header that are not UTF-8 arrive as surrogates, which plain UTF-8 refuses to encode: such a token is merely unknown.
    grant = tokens.get(hashlib.sha256(_credential(authorization).encode("utf-8", "surrogateescape")).digest())
    if grant is None:
        raise Unauthenticated("unknown token")
    if scope not in grant.scopes:
        raise Forbidden(f"the token may not {scope} (it may {', '.join(sorted(grant.scopes))})")
    if grant.tenant == ANY_TENANT:
        return anyone
    if wanted not in (None, grant.tenant):
        raise Forbidden(f"the token belongs to another tenant than the {TENANT_HEADER} {wanted}")
    return Caller(grant.tenant)


def _credential(authorization: str | None) -> str:
    kind, _, value = (authorization or "").strip().partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except ValueError:  # not base64, or not UTF-8
            pass
    raise Unauthenticated(f"this server requires {_HELP}")


def _line_entries(text: str) -> Iterable[tuple[str, Any, Any, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3:
            raise Rejected(f"has {len(words)} words", where=f"line {number}", accepted="token, tenant and scopes, separated by blanks")
        yield f"line {number}", words[0], words[1], words[2].split(",")


def _json_entries(text: str) -> Iterable[tuple[str, Any, Any, Any]]:
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise Rejected(f"is not valid JSON: {error}") from None
    if isinstance(entries, dict):
        entries = entries.get("tokens")
    if not isinstance(entries, list):
        raise Rejected("is JSON but not a list of tokens", accepted='[{"token", "tenant", "scopes"}, …]')
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or entry.keys() != _FIELDS:
            raise Rejected("has unexpected fields", where=f"entry {number}", accepted="an object of token, tenant and scopes")
        yield f"entry {number}", entry["token"], entry["tenant"], entry["scopes"]


def _digest_in_file(token: object, where: str) -> bytes:
    if not isinstance(token, str) or len(token) < _MIN_TOKEN_CHARACTERS or token != token.strip():
        raise Rejected("the token is too short", where=where, accepted=f"at least {_MIN_TOKEN_CHARACTERS} characters")
    known = _DIGEST.fullmatch(token)
    return bytes.fromhex(known[1]) if known else hashlib.sha256(token.encode()).digest()


def _tenant_in_file(tenant: object, where: str) -> str:
    try:
        return tenant if tenant == ANY_TENANT else parse_tenant(str(tenant))
    except Rejected as error:
        raise Rejected(error.reason, where=f"{where}, tenant", accepted=f"{error.accepted}; or {ANY_TENANT}") from None


def _scopes_in_file(scopes: object, where: str) -> frozenset[str]:
    if not isinstance(scopes, list) or not scopes or not all(scope in SCOPES for scope in scopes):
        raise Rejected(f"{scopes!r} are not valid scopes", where=f"{where}, scopes", accepted=f"some of {', '.join(SCOPES)}")
    return frozenset(scopes)
