"""TLS of every listener and of every connection, with certificates of an authority made for the test."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from aiohttp import web

from services.serve import banner
from services.serve.plan import port_names
from services.serve.settings import ServeSettings
from tael.cli.client import Client, Failed
from tael.errors import BadSettings, Unavailable
from tael.objects import MinioObjectStore
from tael.runtime import nats as runtime_nats
from tael.runtime import watched
from tael.runtime.config import Address, load
from tael.runtime.http import json_response, serve
from tael.runtime.settings import ConnectionSettings, NatsSettings, ObjectStoreSettings, TrustSettings
from tael.runtime.tls import ClientTls, ListenerTls
from tael.storage.clickhouse.client import ClickHouse
from tael.wal.jetstream.streams import JetStreamStreams
from tests.support.certificates import Authority, Pair, tls_in_front
from tests.support.hotnode import HotNode
from tests.support.nats import NatsServer
from tests.support.objects import ObjectServer
from tests.support.otlp import TRACES_METHOD, Receivers, eventually, receiving, request_of

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed files are seen at the next handshake and not a second later."""
    monkeypatch.setattr(watched, "_LOOK_EVERY_SECONDS", -1)


def listener_settings(pair: Pair, client_ca: Path | None = None) -> dict[str, Any]:
    found = {"TAEL_TLS_CERT": str(pair.cert), "TAEL_TLS_KEY": str(pair.key)}
    return found | ({"TAEL_TLS_CLIENT_CA": str(client_ca)} if client_ca else {})


async def post(receivers: Receivers, context: ssl.SSLContext) -> int:
    url = receivers.url.replace("http://", "https://")
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=request_of(1).SerializeToString(), headers=PROTOBUF, ssl=context) as answer,
    ):
        return answer.status


async def export(receivers: Receivers, roots: Path, pair: Pair | None = None) -> grpc.StatusCode:
    shown = (pair.key.read_bytes(), pair.cert.read_bytes()) if pair else (None, None)
    async with grpc.aio.secure_channel(str(receivers.grpc), grpc.ssl_channel_credentials(roots.read_bytes(), *shown)) as channel:
        try:
            await channel.unary_unary(TRACES_METHOD)(request_of(1).SerializeToString(), timeout=60)
        except grpc.aio.AioRpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        return grpc.StatusCode.OK


async def test_receivers_speak_tls_alone(authority: Authority) -> None:
    async with receiving(**listener_settings(authority.issue("server"))) as receivers:
        assert await post(receivers, authority.client()) == 200
        assert await export(receivers, authority.file) is grpc.StatusCode.OK
        assert len(receivers.log.requests) == 2
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.post(receivers.url, data=request_of(1).SerializeToString(), headers=PROTOBUF)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await post(receivers, ssl.create_default_context())
        assert len(receivers.log.requests) == 2


async def test_old_versions_of_tls_are_refused(authority: Authority) -> None:
    async with receiving(**listener_settings(authority.issue("server"))) as receivers:
        context = authority.client()
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(receivers, context)


@pytest.mark.usefixtures("look_always")
async def test_a_new_certificate_is_used_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("server")
    async with receiving(**listener_settings(pair)) as receivers:
        assert await export(receivers, authority.file) is grpc.StatusCode.OK
        other = Authority(tmp_path, "other")
        other.issue("server")
        assert await post(receivers, other.client()) == 200
        assert await export(receivers, other.file) is grpc.StatusCode.OK
        assert await export(receivers, authority.file) is grpc.StatusCode.UNAVAILABLE
        pair.cert.write_text("half of a certificate")
        assert await post(receivers, other.client()) == 200, "what cannot be used leaves things as they were"
        assert await export(receivers, other.file) is grpc.StatusCode.OK


@pytest.mark.usefixtures("look_always")
async def test_clients_show_a_certificate_of_an_authority_that_is_trusted_now(authority: Authority, tmp_path: Path) -> None:
    clients = Authority(tmp_path, "clients")
    shown = clients.issue("client")
    async with receiving(**listener_settings(authority.issue("server"), clients.file)) as receivers:
        assert await post(receivers, authority.client(shown)) == 200
        assert await export(receivers, authority.file, shown) is grpc.StatusCode.OK
        resuming = authority.client(shown)
        assert await post(receivers, resuming) == 200
        for context in (authority.client(), authority.client(authority.issue("stranger"))):
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await post(receivers, context)
        assert await export(receivers, authority.file) is grpc.StatusCode.UNAVAILABLE
        Authority(tmp_path, "clients")
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await post(receivers, resuming)
        assert await export(receivers, authority.file, shown) is grpc.StatusCode.UNAVAILABLE
        assert len(receivers.log.requests) == 3


def test_unusable_certificates_refuse_the_process(authority: Authority, tmp_path: Path) -> None:
    one, two = authority.issue("one"), authority.issue("two")
    mixed = load(ConnectionSettings, {"TAEL_TLS_CERT": str(one.cert), "TAEL_TLS_KEY": str(two.key)})
    with pytest.raises(BadSettings, match="the key is not that of the certificate"):
        ListenerTls.of(mixed)
    missing = load(ConnectionSettings, {"TAEL_TLS_CERT": str(one.cert), "TAEL_TLS_KEY": str(tmp_path / "none")})
    with pytest.raises(BadSettings, match=r"TAEL_TLS_KEY=.*No such file"):
        ListenerTls.of(missing)
    with pytest.raises(BadSettings, match="set both or neither"):
        load(ConnectionSettings, {"TAEL_TLS_CERT": str(one.cert)})
    with pytest.raises(BadSettings, match="TAEL_CA_FILE"):
        ClientTls(load(TrustSettings, {"TAEL_CA_FILE": str(one.key)}))


def nats_settings(server: NatsServer, **paths: Path) -> NatsSettings:
    url = f"tls://tael:secret@127.0.0.1:{server.port}"
    return load(NatsSettings, {"TAEL_NATS_URL": url, **{name: str(path) for name, path in paths.items()}})


@pytest.mark.usefixtures("look_always")
async def test_nats_by_mutual_tls(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_nats, "_FIRST_WAIT_SECONDS", 0.5)
    pair, shown = authority.issue("nats"), authority.issue("ingest")
    secured = f'tls {{ cert_file: "{pair.cert}", key_file: "{pair.key}", ca_file: "{authority.file}", verify: true }}'
    server = NatsServer(tmp_path / "nats", cluster=secured)
    server.start()
    mine = {"TAEL_CA_FILE": authority.file, "TAEL_CLIENT_CERT": shown.cert, "TAEL_CLIENT_KEY": shown.key}
    try:
        async with runtime_nats.connection(nats_settings(server, **mine), "t") as client:
            streams = JetStreamStreams(client, "tael", [server.monitor_url], replicas=1, max_bytes=1 << 20)
            await streams.ensure(1)
            # all certificates change, and the connection is lost
            authority.issue("nats")
            authority.issue("ingest")
            server.kill()
            await eventually(lambda: not client.is_connected)
            server.start()
            await eventually(lambda: client.is_connected)
            await streams.ensure(1)
        for trust in ({"TAEL_CA_FILE": authority.file}, {}):
            async with runtime_nats.connection(nats_settings(server, **trust), "t") as client:
                with pytest.raises(Unavailable):
                    runtime_nats.require_connected(client)
    finally:
        server.kill()


async def test_a_nats_that_offers_no_tls_never_sees_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """tls:// is no wish: somebody between could offer none, and read what is sent."""
    monkeypatch.setattr(runtime_nats, "_FIRST_WAIT_SECONDS", 0.5)
    seen = bytearray()

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.0","max_payload":1048576,"auth_required":true,"headers":true}\r\n')
        with contextlib.suppress(ConnectionError):
            while received := await reader.read(4096):
                seen.extend(received)
        writer.close()

    server = await asyncio.start_server(pretend, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with runtime_nats.connection(load(NatsSettings, {"TAEL_NATS_URL": f"tls://tael:secret@127.0.0.1:{port}"}), "t") as client:
        assert not client.is_connected
    server.close()
    assert seen == b""


@pytest.mark.usefixtures("look_always")
async def test_clickhouse_by_mutual_tls(authority: Authority, shared_hot_node: HotNode) -> None:
    shown, node = authority.issue("ingest"), shared_hot_node
    mine = TrustSettings.model_validate({"TAEL_CA_FILE": authority.file, "TAEL_CLIENT_CERT": shown.cert, "TAEL_CLIENT_KEY": shown.key})
    async with tls_in_front(node.url, authority.issue("clickhouse"), authority.file) as url:
        clickhouse = ClickHouse(url, "default", node.user, node.password, tls=ClientTls(mine))
        assert await clickhouse.query("SELECT 1", {}) == [(1,)]
        authority.issue("ingest")
        assert await clickhouse.query("SELECT 2", {}) == [(2,)]
        await clickhouse.close()
        stranger = ClickHouse(url, "default", node.user, node.password, tls=ClientTls(TrustSettings()))
        with pytest.raises(Unavailable):
            await stranger.query("SELECT 1", {})
        await stranger.close()


async def test_the_object_store_by_a_private_authority(authority: Authority, object_server: ObjectServer) -> None:
    async with tls_in_front(object_server.url, authority.issue("s3")) as url:
        given = object_server.settings.model_dump(by_alias=True) | {"TAEL_S3_URL": url}
        store = MinioObjectStore(ObjectStoreSettings.model_validate(given | {"TAEL_CA_FILE": authority.file}))
        await store.ensure_bucket()
        await store.put("tls/one", b"1")
        assert await store.get("tls/one") == b"1"
        await store.delete("tls/one")
        with pytest.raises(Unavailable):
            await MinioObjectStore(ObjectStoreSettings.model_validate(given)).create("tls/two", b"2")


def test_the_banner_names_https(authority: Authority) -> None:
    pair = authority.issue("server")
    settings = load(ServeSettings, listener_settings(pair))
    text = banner.plain(settings, dict.fromkeys(port_names(settings), 1))
    assert "--server https://127.0.0.1:7701" in text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=https://127.0.0.1:4318" in text


async def test_the_command_trusts_a_private_authority(authority: Authority) -> None:
    async def cluster(_: web.Request) -> web.Response:
        return json_response({"leader": "me"})

    app = web.Application()
    app.router.add_get("/internal/cluster", cluster)
    settings = load(ConnectionSettings, listener_settings(authority.issue("server")))
    async with serve(app, Address("127.0.0.1", 0), what="the test's", variable="-", limits=settings) as bound:
        trusting = Client(f"https://{bound}", ca_file=str(authority.file))
        assert await asyncio.to_thread(trusting.get, "internal", "cluster") == {"leader": "me"}
        with pytest.raises(Failed, match="certificate verify failed"):
            await asyncio.to_thread(Client(f"https://{bound}").get, "internal", "cluster")
