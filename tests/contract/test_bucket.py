"""The hot node and the bucket of the cold tier: objects are written and read without a key in any statement, and nothing else is
reached.
"""

from __future__ import annotations

import secrets
import stat

from services.hotnode.bucket import engine_config
from tael.objects import MinioObjectStore
from tael.runtime.settings import ObjectStoreSettings
from tests.support.hotnode import ClickHouse, HotNode
from tests.support.objects import object_settings

DENIED = 497


async def test_objects_of_the_bucket(shared_hot_node: HotNode, objects: MinioObjectStore) -> None:
    """Written under an exact key and read back; a statement that is repeated overwrites its object."""
    node = ClickHouse(shared_hot_node.url, shared_hot_node.user, shared_hot_node.password, shared_hot_node)
    prefix = f"{object_settings()['TAEL_S3_URL']}/{object_settings()['TAEL_S3_BUCKET']}"
    key = f"test/{secrets.token_hex(4)}/n.parquet"
    for _ in range(2):
        node.run(
            f"INSERT INTO FUNCTION s3('{prefix}/{key}', 'Parquet') SELECT number AS n FROM numbers(10) SETTINGS s3_truncate_on_insert = 1"
        )
    assert node.run(f"SELECT sum(n) FROM s3('{prefix}/{key}', 'Parquet', 'n UInt64')") == "45\n"
    assert (await objects.get(key))[:4] == b"PAR1"
    assert node.fails(f"SELECT * FROM s3('{prefix}-other/{key}', 'Parquet', 'n UInt64')") == DENIED
    assert node.fails(f"SELECT * FROM s3('{prefix}/../other/{key}', 'Parquet', 'n UInt64')") == DENIED


def test_the_key_is_in_a_file_of_the_process_alone(shared_hot_node: HotNode) -> None:
    """Escaped as XML wants it."""
    config = shared_hot_node.directory / "config.xml"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert "<secret_access_key>&lt;secret&gt; &amp; key</secret_access_key>" in config.read_text()


def test_without_a_key_requests_are_not_signed() -> None:
    """A bucket that anybody may read needs none."""
    assert "<no_sign_request>1</no_sign_request>" in engine_config(ObjectStoreSettings.model_validate({"TAEL_S3_SECRET_KEY": ""}))
