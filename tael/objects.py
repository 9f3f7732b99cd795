"""The object store that holds the cold tier's bucket: its port, and the one adapter, over the minio client.

This module only moves bytes under keys; other packages define which keys hold what.
"""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.credentials.providers import IamAwsProvider, Provider, StaticProvider
from minio.error import MinioException, S3Error

from tael.errors import Conflict, NotFound, Rejected, Unavailable
from tael.runtime.settings import ObjectStoreSettings
from tael.runtime.tls import ClientTls

R = TypeVar("R")
_TIMEOUT = urllib3.Timeout(connect=3, read=30)


class ObjectStore(Protocol):
    """Immutable bytes under keys. Every method raises Unavailable when the store cannot be reached in time."""

    async def ensure_bucket(self) -> None:
        """Create the bucket if it is missing. Raises Rejected when the credentials are refused."""
        ...

    async def put(self, key: str, body: bytes) -> None:
        """Write or replace the object."""
        ...

    async def create(self, key: str, body: bytes) -> None:
        """Write the object, atomically, if the key does not exist. Raises Conflict when it does."""
        ...

    async def get(self, key: str) -> bytes:
        """The whole object. Raises NotFound."""
        ...

    async def list(self, prefix: str) -> list[str]:
        """The keys that start with ``prefix``, sorted."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; it is no error if it does not exist."""
        ...


async def check_conditional_writes(store: ObjectStore) -> bool:
    """Whether ``create`` really refuses an existing key: some S3 servers accept the condition but ignore it."""
    key = f"_tael/self-check-{secrets.token_hex(8)}"
    await store.create(key, b"first")
    try:
        await store.create(key, b"second")
    except Conflict:
        return True
    else:
        return False
    finally:
        await store.delete(key)


class _Role(Provider):
    """Temporary keys for an AWS role, from the source that the environment names; renewed shortly before they expire."""

    def __init__(self, settings: ObjectStoreSettings, pool: urllib3.PoolManager) -> None:
        self._source = IamAwsProvider(custom_endpoint=settings.s3_sts_url, region=settings.s3_region, http_client=pool)

    def retrieve(self) -> Credentials:
        """The current keys. Raises Unavailable when there are none."""
        try:
            return self._source.retrieve()
        except (ValueError, KeyError) as error:  # which the client raises for an unusable answer
            raise Unavailable(f"no keys were obtained for the role (TAEL_S3_AUTH=role): {error}") from error


class MinioObjectStore:
    """The ObjectStore on MinIO, SeaweedFS or any S3; the blocking client runs in threads."""

    def __init__(self, settings: ObjectStoreSettings) -> None:
        parts = urlsplit(settings.s3_url)
        self._bucket = settings.s3_bucket
        self._region = settings.s3_region
        self._tls = ClientTls(settings)
        self._pool = urllib3.PoolManager(
            timeout=_TIMEOUT, maxsize=8, retries=urllib3.Retry(total=2, backoff_factor=0.2), ssl_context=self._tls.context
        )
        keys = StaticProvider(settings.s3_access_key, settings.s3_secret_key) if settings.s3_auth == "keys" else _Role(settings, self._pool)
        self._client = Minio(
            endpoint=parts.netloc,
            credentials=keys,
            secure=parts.scheme == "https",
            region=settings.s3_region,
            http_client=self._pool,
        )

    async def ensure_bucket(self) -> None:
        """See ObjectStore."""

        def ensure() -> None:
            if not self._client.bucket_exists(bucket_name=self._bucket):
                self._client.make_bucket(bucket_name=self._bucket, location=self._region)

        await self._call(ensure)

    async def put(self, key: str, body: bytes) -> None:
        """See ObjectStore."""
        await self._call(lambda: self._client.put_object(self._bucket, key, io.BytesIO(body), len(body)))

    async def create(self, key: str, body: bytes) -> None:
        """See ObjectStore. The client has no parameter for the condition, so the request is sent to a presigned URL."""

        def put_if_absent() -> int:
            url = self._client.presigned_put_object(self._bucket, key, expires=timedelta(minutes=5))
            # No retries: if the answer to a successful write is lost, a repeat would be refused because of that very write.
            return self._pool.request("PUT", url, body=body, headers={"If-None-Match": "*"}, retries=False).status

        status = await self._call(put_if_absent)
        if status in {409, 412}:
            raise Conflict(f"object {key} exists")
        if status >= 300:
            raise Unavailable(f"the object store answered {status} to a conditional write of {key}")

    async def get(self, key: str) -> bytes:
        """See ObjectStore."""

        def read() -> bytes:
            response = self._client.get_object(self._bucket, key)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

        return await self._call(read)

    async def list(self, prefix: str) -> list[str]:
        """See ObjectStore."""
        return await self._call(lambda: sorted(str(o.object_name) for o in self._client.list_objects(self._bucket, prefix, recursive=True)))

    async def delete(self, key: str) -> None:
        """See ObjectStore."""
        await self._call(lambda: self._client.remove_object(self._bucket, key))

    async def _call(self, function: Callable[[], R]) -> R:
        self._tls.refresh()
        try:
            return await asyncio.to_thread(function)
        except S3Error as error:
            if error.code in {"NoSuchKey", "NoSuchBucket"}:
                raise NotFound(f"object store: {error.code} {error.object_name or ''}") from error
            if error.code in {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}:
                raise Rejected(f"the object store refuses the credentials ({error.code})", where="TAEL_S3_ACCESS_KEY") from error
            raise Unavailable(f"object store: {error.code}") from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"the object store cannot be reached: {error}") from error
