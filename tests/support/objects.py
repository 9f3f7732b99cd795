"""A real object store: SeaweedFS on free ports, with the bucket that every shared hot node is configured for.

Its address is chosen before it runs, so that hot nodes need not be restarted for the tests that use it.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from minio import Minio

from services.serve.configs import s3_identities
from services.serve.plan import S3_GRPC_OFFSET
from tael.objects import MinioObjectStore
from tael.runtime.settings import ObjectStoreSettings
from tests.support.ports import HIGH, free_port
from tests.support.suite import until

_PROGRAM = Path(sys.executable).with_name("weed")
_KEY, _SECRET, _BUCKET = "tael", "<secret> & key", "tael"


@cache
def object_settings() -> dict[str, str]:
    """The environment variables for the bucket of this test run."""
    url = f"http://127.0.0.1:{free_port()}"
    return {"TAEL_S3_URL": url, "TAEL_S3_BUCKET": _BUCKET, "TAEL_S3_ACCESS_KEY": _KEY, "TAEL_S3_SECRET_KEY": _SECRET}


class ObjectServer:
    """``weed mini`` over ``directory``, at the address of ``object_settings``."""

    def __init__(self, directory: Path) -> None:
        self.url = object_settings()["TAEL_S3_URL"]
        self.settings = ObjectStoreSettings.model_validate(object_settings())
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._directory.mkdir(parents=True, exist_ok=True)
        identities = self._directory / "identities.json"
        identities.write_text(s3_identities(_KEY, _SECRET))
        port = int(self.url.rpartition(":")[2])
        ports = {"s3.port": port} | {name: free_port() for name in ("filer.port", "master.port", "volume.port")}
        ports |= {f"{name}.grpc": free_port() for name in tuple(ports)} | {"metricsPort": free_port()}
        admin = free_port(HIGH - S3_GRPC_OFFSET)
        ports |= {"admin.port": admin, "admin.port.grpc": admin + S3_GRPC_OFFSET}
        flags = [f"-{name}={number}" for name, number in ports.items()]
        flags += [f"-dir={self._directory / 'objects'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={identities}"]
        flags += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
        with (self._directory / "weed.log").open("ab") as log:
            self._process = subprocess.Popen([_PROGRAM, "mini", *flags], stdout=log, stderr=log)
        until(self._answers, "SeaweedFS")
        client = Minio(endpoint=self.url.removeprefix("http://"), access_key=_KEY, secret_key=_SECRET, secure=False)
        if not client.bucket_exists(bucket_name=_BUCKET):
            client.make_bucket(bucket_name=_BUCKET)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as response:  # noqa: S310  # a loopback URL
                return bool(response.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """Kill the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """One object store for the whole run: use keys of your own in it."""
    server = ObjectServer(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def objects(object_server: ObjectServer) -> MinioObjectStore:
    """The bucket of this test run."""
    return MinioObjectStore(object_server.settings)
