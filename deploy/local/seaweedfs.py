"""Starts SeaweedFS as an S3 server on port 9000 with the one identity that the environment names; replaces this process by it.

Its other ports want a certificate that only this process has.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from services.serve.configs import seaweedfs_security
from services.serve.credentials import ensure_certificate

CONFIG, CERTIFICATE, KEY = (Path("/tmp") / name for name in ("s3.json", "certificate.pem", "key.pem"))  # noqa: S108  # the container's own tmpfs
FLAGS = (
    "-dir=/data",
    "-ip=127.0.0.1",
    "-ip.bind=0.0.0.0",
    "-s3.port=9000",
    f"-s3.config={CONFIG}",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-webdav=false",
    "-admin.ui=false",
    "-master.telemetry=false",
)


def main() -> None:
    """Write the identities where only this user reads them, then become ``weed mini``."""
    credentials = [{"accessKey": os.environ.pop("S3_ACCESS_KEY"), "secretKey": os.environ.pop("S3_SECRET_KEY")}]
    identity = {"name": "tael", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    CONFIG.touch(mode=0o600)
    CONFIG.write_text(json.dumps({"identities": [identity]}))
    ensure_certificate(CERTIFICATE, KEY)
    os.environ.update(seaweedfs_security(CERTIFICATE, KEY, secrets.token_hex()))
    os.execvp("weed", ["weed", "mini", *FLAGS])  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main()
