"""The credentials that keep other users of this machine out of NATS, the hot nodes and SeaweedFS.

They are generated at random at the first start of a data directory and kept there, in files of mode 0600 in a directory of mode 0700.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NATS_USER = "tael"
_SECRET_BYTES = 24
_VALID = dt.timedelta(days=36_500)


@dataclass(frozen=True, repr=False)
class Credentials:
    """A password for each part; ``s3_internal`` is the key that signs requests between SeaweedFS's parts."""

    hotnode: str
    nats: str
    s3: str
    s3_internal: str


def load_credentials(path: Path) -> Credentials:
    """The passwords in ``path``; missing ones are generated and saved."""
    names = [field.name for field in fields(Credentials)]
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    found = Credentials(**{name: known.get(name) or secrets.token_hex(_SECRET_BYTES) for name in names})
    if asdict(found) != known:
        write_private(path, json.dumps(asdict(found), indent=1).encode() + b"\n")
    return found


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, atomically: a reader sees the old content or the new."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fresh.replace(path)


def ensure_certificate(certificate: Path, key: Path) -> None:
    """Create, unless they exist, a self-signed certificate for 127.0.0.1 and its key, which authenticate SeaweedFS's parts to
    each other.
    """
    if certificate.exists() and key.exists():
        return
    certificate.parent.mkdir(parents=True, exist_ok=True)
    private, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tael")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(private, hashes.SHA256())
    )
    encoded = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # The key first: if this is interrupted, the certificate is missing, and the next start makes both anew.
    write_private(key, encoded)
    write_private(certificate, signed.public_bytes(serialization.Encoding.PEM))
