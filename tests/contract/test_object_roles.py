"""The object store by a role: keys that somebody gives for a while, in place of keys in a setting."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tael.errors import BadSettings, Unavailable
from tael.objects import MinioObjectStore
from tael.runtime.config import Address, load
from tael.runtime.http import serve
from tael.runtime.settings import ObjectStoreSettings
from tests.support.objects import ObjectServer

_XML = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken></SessionToken><Expiration>{until}</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@contextlib.asynccontextmanager
async def giving(settings: ObjectStoreSettings, seconds: int, asked: list[str]) -> AsyncIterator[Address]:
    """Gives the store's own keys, for ``seconds``, to who shows a token; remembers tokens and roles."""
    key, secret = settings.s3_access_key, settings.s3_secret_key

    def until() -> str:
        return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def sts(request: web.Request) -> web.Response:
        asked.append(f"{request.query['WebIdentityToken']} {request.query['RoleArn']}")
        escaped = "".join(_ESCAPES.get(letter, letter) for letter in secret)
        return web.Response(text=_XML.format(key=key, secret=escaped, until=until()), content_type="text/xml")

    async def container(request: web.Request) -> web.Response:
        asked.append(request.headers["Authorization"])
        return web.json_response({"AccessKeyId": key, "SecretAccessKey": secret, "Token": "", "Expiration": until()})

    app = web.Application()
    app.router.add_post("/", sts)
    app.router.add_get("/container", container)
    async with serve(app, Address("127.0.0.1", 0), what="the test's", variable="-") as bound:
        yield bound


def by_role(server: ObjectServer, **environment: str) -> ObjectStoreSettings:
    kept = {"TAEL_S3_URL": server.settings.s3_url, "TAEL_S3_BUCKET": server.settings.s3_bucket, "TAEL_S3_AUTH": "role"}
    return load(ObjectStoreSettings, kept | environment)


async def test_web_identity_with_a_token_that_changes(object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token, asked = tmp_path / "token", list[str]()
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/tael")
    token.write_text("first")
    async with giving(object_server.settings, seconds=1, asked=asked) as bound:
        store = MinioObjectStore(by_role(object_server, TAEL_S3_STS_URL=f"http://{bound}"))
        await store.put("role/a", b"1")
        token.write_text("second")
        await store.create("role/b", b"2")
        assert await store.get("role/a") == b"1"
        for key in await store.list("role/"):
            await store.delete(key)
    assert asked[0] == "first arn:aws:iam::1:role/tael"
    assert asked[-1] == "second arn:aws:iam::1:role/tael", "keys that expire are asked for again, with the newest token"
    with pytest.raises(Unavailable):
        await store.get("role/a")


async def test_the_containers_endpoint(object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    (tmp_path / "token").write_text("pod")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    async with giving(object_server.settings, seconds=3600, asked=asked) as bound:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://{bound}/container")
        store = MinioObjectStore(by_role(object_server))
        await store.put("role/c", b"1")
        await store.delete("role/c")
    assert asked == ["pod"], "keys that hold are kept"


async def test_no_keys_are_given(object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="none"):
        await MinioObjectStore(by_role(object_server)).get("role/a")


def test_keys_and_a_role_exclude_each_other(object_server: ObjectServer) -> None:
    with pytest.raises(BadSettings, match="TAEL_S3_AUTH=role takes no TAEL_S3_SECRET_KEY"):
        by_role(object_server, TAEL_S3_SECRET_KEY="s")
