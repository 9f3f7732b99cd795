"""Who a process is to a NATS that knows its clients by keys: the file that ``nsc`` writes for a user (``.creds``: a JWT and a seed), or an nkey's seed alone.

The file is read again when it changes, so that a renewed JWT is used by the next connection. A seed is Ed25519's 32 bytes behind two bytes that
say what it is of, with a checksum, in base 32 (https://github.com/nats-io/nkeys); nats-py would read files itself, at each connection, and without end
where one is half written.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tael.errors import Rejected
from tael.runtime.settings import NATS_CREDS_FILE, NatsSettings
from tael.runtime.watched import WatchedFile

_SECTION = r"-{3,}BEGIN %s-{3,}\s+(\S+)\s+-{3,}END %s-{3,}"
_SEED, _USER = 18 << 3, 20 << 3


@dataclass(frozen=True)
class Keys:
    """A user's seed (32 bytes), and the JWT that goes with it where there is one."""

    seed: bytes
    jwt: str = ""

    @property
    def public(self) -> str:
        """The nkey's public half, as a server's configuration names it."""
        import nacl.signing  # with libsodium, which only those need whose NATS asks for keys

        own = bytes([_USER]) + bytes(nacl.signing.SigningKey(self.seed).verify_key)
        return base64.b32encode(own + _checksum(own)).decode().rstrip("=")

    def sign(self, nonce: str) -> bytes:
        """The answer to a server's nonce, in base64."""
        import nacl.signing

        return base64.b64encode(nacl.signing.SigningKey(self.seed).sign(nonce.encode()).signature)

    def arguments(self) -> dict[str, Any]:
        """Those of the client's ``connect``. Without a JWT the client has to be told the public half as well."""
        return {"signature_cb": self.sign, "user_jwt_cb": self.jwt.encode if self.jwt else None}


def keys_from(settings: NatsSettings) -> Callable[[], Keys | None]:
    """The keys to show, asked anew for each connection; none where no file is named. Raises BadSettings for a file of another kind."""
    if settings.nats_creds_file is None:
        return lambda: None
    return WatchedFile(settings.nats_creds_file, keys_of, NATS_CREDS_FILE).read


def keys_of(text: str) -> Keys:
    """The keys in the text of a file. Raises Rejected for what is neither a user's credentials nor a user's seed."""
    jwt, seed = _section("NATS USER JWT", text), _section("USER NKEY SEED", text)
    return Keys(_raw(seed), jwt) if jwt and seed else Keys(_raw(text.strip()))


def _section(name: str, text: str) -> str:
    found = re.search(_SECTION % (name, name), text)
    return found[1] if found else ""


def _raw(seed: str) -> bytes:
    try:
        whole = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except ValueError as error:
        raise Rejected("neither a user's .creds file nor an nkey's seed") from error
    body, checksum = whole[:-2], whole[-2:]
    if len(body) != 34 or body[0] & 0xF8 != _SEED or checksum != _checksum(body):
        raise Rejected("neither a user's .creds file nor an nkey's seed")
    if (body[0] & 7) << 5 | body[1] >> 3 != _USER:
        raise Rejected("the seed is not that of a user, which begins with SU")
    return body[2:]


def _checksum(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")
