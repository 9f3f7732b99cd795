"""The files that nats-server and SeaweedFS are started with, as text. Pure."""

from __future__ import annotations

import json
from pathlib import Path

from tael.runtime.config import Address

MAX_PAYLOAD_BYTES = 8 << 20
MAX_FILE_BYTES = 1 << 50


def nats_conf(*, client: Address, monitor: Address, store: Path) -> str:
    """One JetStream server that fsyncs before it acknowledges: without ``sync_interval: always`` a power cut loses up to two minutes.

    ``max_file`` is set because its default is a share of what is free when the server starts: one start on a full disk would refuse
    streams for ever after. TAEL_MIN_FREE_BYTES watches the disk instead.
    """
    return f"""\
server_name: tael
listen: {json.dumps(str(client))}
http: {json.dumps(str(monitor))}
max_payload: {MAX_PAYLOAD_BYTES}
jetstream {{
  store_dir: {json.dumps(str(store))}
  sync_interval: always
  max_file: {MAX_FILE_BYTES}
}}
"""


def s3_identities(access_key: str, secret_key: str) -> str:
    """SeaweedFS' identities: one, which may do everything; nobody else may do anything."""
    identity = {
        "name": "tael",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return json.dumps({"identities": [identity]}, indent=2) + "\n"
