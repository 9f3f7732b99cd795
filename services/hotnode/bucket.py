"""The engine's configuration file with the credentials of the cold tier's bucket, so that statements never contain a key. Pure.

The engine chooses credentials by URL prefix, as ClickHouse's server does (docs/operations.md), so they are used for no other bucket.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from tael.runtime.settings import ObjectStoreSettings


def engine_config(settings: ObjectStoreSettings) -> str:
    """The file's text. Without a secret key, requests are not signed."""
    known = [("endpoint", settings.bucket_url), ("region", settings.s3_region)]
    if settings.s3_auth == "role":
        known.append(("use_environment_credentials", "1"))
    elif settings.s3_secret_key:
        known += [("access_key_id", settings.s3_access_key), ("secret_access_key", settings.s3_secret_key)]
    else:
        known.append(("no_sign_request", "1"))
    lines = "".join(f"\n      <{name}>{escape(value)}</{name}>" for name, value in known)
    return f"<clickhouse>\n  <s3>\n    <cold>{lines}\n    </cold>\n  </s3>\n</clickhouse>\n"
