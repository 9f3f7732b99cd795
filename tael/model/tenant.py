"""Tenants: the owner of telemetry, every table's first key, and how a request names it.

The names and their rules are those of Grafana's stack, so that one ``X-Scope-OrgID`` serves Loki, Tempo, Mimir and tael alike
(Mimir's documentation, "About tenant IDs").
"""

from __future__ import annotations

import re

from tael.errors import Rejected

DEFAULT_TENANT = "default"
"""The tenant of a request that names none."""
TENANT_HEADER = "X-Scope-OrgID"
"""The HTTP header, and in lower case the gRPC metadata key, that names a tenant."""
ANY_TENANT = "*"
"""In a token: any tenant that the request names. It is not a valid tenant name."""
MAX_TENANT_BYTES = 150
TENANT_PATTERN = r"^([A-Za-z0-9!\-_.*'()]{1,150})?$"
"""The pattern of a setting that names a tenant or is empty."""
_NAME = re.compile(r"[A-Za-z0-9!\-_.*'()]{1,150}")
_RESERVED = {".", "..", ANY_TENANT}
_ACCEPTED = f"1 to {MAX_TENANT_BYTES} letters, digits and ! - _ . * ' ( ), and none of {' '.join(sorted(_RESERVED))}"


def parse_tenant(text: str) -> str:
    """The tenant that a header's value names. Raises Rejected.

    ``A|B``, several tenants at once, is refused: a request reads and writes the rows of one tenant.
    """
    if "|" in text:
        raise Rejected("more than one tenant", where=TENANT_HEADER, accepted="exactly one tenant; query each separately")
    if text in _RESERVED or not _NAME.fullmatch(text):
        raise Rejected(f"{text[:60]!r} is not a valid tenant name", where=TENANT_HEADER, accepted=_ACCEPTED)
    return text
