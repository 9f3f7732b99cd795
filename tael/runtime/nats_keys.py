"""Key-based authentication to NATS: by a user's ``.creds`` file as written by ``nsc`` (a JWT and a seed), or by an nkey's seed alone.

The file is read again when it changes, so that the next connection uses a renewed JWT. A seed is, in base32, two prefix bytes for its type,
Ed25519's 32 bytes, and a checksum (https://github.com/nats-io/nkeys). nats-py could read the files itself, but does so at each connection,
and never returns from a half-written one.
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
# Five bits of a prefix become the first letter in base32: S for a seed, U for a user.
_SEED, _USER = 18 << 3, 20 << 3


@dataclass(frozen=True)
class Keys:
    """A user's seed (32 bytes), and the JWT that belongs to it, if any."""

    seed: bytes
    jwt: str = ""

    @property
    def public(self) -> str:
        """The nkey's public key, as it is written in a server's configuration."""
        import nacl.signing  # loads libsodium, which is needed only for this kind of authentication

        own = bytes([_USER]) + bytes(nacl.signing.SigningKey(self.seed).verify_key)
        return base64.b32encode(own + _checksum(own)).decode().rstrip("=")

    def sign(self, nonce: str) -> bytes:
        """The signature of a server's nonce, in base64."""
        import nacl.signing

        return base64.b64encode(nacl.signing.SigningKey(self.seed).sign(nonce.encode()).signature)

    def arguments(self) -> dict[str, Any]:
        """The arguments for nats-py's ``connect``. Without a JWT the client needs the public key as well."""
        return {"signature_cb": self.sign, "user_jwt_cb": self.jwt.encode if self.jwt else None}


def keys_from(settings: NatsSettings) -> Callable[[], Keys | None]:
    """A function that returns the current keys, to be called for each connection; None without a file. Raises BadSettings for an unusable
    file.
    """
    if settings.nats_creds_file is None:
        return lambda: None
    return WatchedFile(settings.nats_creds_file, keys_of, NATS_CREDS_FILE).read


def keys_of(text: str) -> Keys:
    """The keys in a file's text. Raises Rejected when it is neither a user's credentials nor a user's seed."""
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
    # The eight bits of the type follow the seed's five: three are in the first byte, five in the second.
    if (body[0] & 7) << 5 | body[1] >> 3 != _USER:
        raise Rejected("the seed is not that of a user, which begins with SU")
    return body[2:]


def _checksum(data: bytes) -> bytes:
    # CRC-16/XMODEM, as nkeys appends it.
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")
