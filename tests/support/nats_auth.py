"""NATS users with keys: an nkey, and an operator with an account and a user, as ``nsc`` creates them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import time
from dataclasses import dataclass
from typing import Any

import nacl.signing

OPERATOR, ACCOUNT, USER = 14 << 3, 0, 20 << 3

_ANY = {"subs": -1, "data": -1, "payload": -1}
_ACCOUNT = {"imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
_JETSTREAM = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


@dataclass(frozen=True)
class Key:
    """A key of a user, an account or an operator."""

    kind: int
    private: nacl.signing.SigningKey

    @classmethod
    def make(cls, kind: int = USER) -> Key:
        """Generate a new key."""
        return cls(kind, nacl.signing.SigningKey(os.urandom(32)))

    @property
    def seed(self) -> str:
        """The seed: S, the kind, and the private key."""
        return _checked(bytes([18 << 3 | self.kind >> 5, (self.kind & 31) << 3]) + bytes(self.private))

    @property
    def public(self) -> str:
        """The public key."""
        return _checked(bytes([self.kind]) + bytes(self.private.verify_key))

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``."""
        return self.private.sign(data).signature

    def jwt(self, subject: str, claims: dict[str, Any], expires: float | None = None) -> str:
        """A claim about a subject, signed by this key, as a NATS JWT."""
        body: dict[str, Any] = {
            "iat": int(time.time()),
            "iss": self.public,
            "name": "tael",
            "sub": subject,
            "nats": {"version": 2, **claims},
        }
        if expires is not None:
            body["exp"] = int(expires)
        body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
        text = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(body)}"
        return f"{text}.{_base64(self.sign(text.encode()))}"


def _checked(data: bytes) -> str:
    return base64.b32encode(data + binascii.crc_hqx(data, 0).to_bytes(2, "little")).decode().rstrip("=")


def _part(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Operator:
    """An operator, its system account, an account with JetStream, and that account's users."""

    def __init__(self) -> None:
        self._key, self._system, self._account = (Key.make(kind) for kind in (OPERATOR, ACCOUNT, ACCOUNT))

    def configuration(self) -> str:
        """The server configuration that trusts the operator."""
        operator = self._key.jwt(self._key.public, {"type": "operator", "system_account": self._system.public})
        accounts = {self._system.public: self._claim(self._system, {}), self._account.public: self._claim(self._account, _JETSTREAM)}
        preload = "\n".join(f"{name}: {jwt}" for name, jwt in accounts.items())
        return f"operator: {operator}\nsystem_account: {self._system.public}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"

    def _claim(self, account: Key, limits: dict[str, int]) -> str:
        return self._key.jwt(account.public, {"type": "account", "limits": {**_ANY, **_ACCOUNT, **limits}})

    def credentials(self, *, expires: float | None = None) -> str:
        """The text of a ``.creds`` file of a new user."""
        user = Key.make()
        jwt = self._account.jwt(user.public, {"type": "user", **_ANY}, expires)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\nNKEY Seed printed below can be used to sign and prove identity.\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )
