"""Every way in which a NATS tells its clients apart, against real servers: passwords, tokens, nkeys, and users with a JWT."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nacl.signing import SigningKey

from tael.errors import BadSettings
from tael.runtime import nats as runtime_nats
from tael.runtime import watched
from tael.runtime.config import load
from tael.runtime.nats_keys import keys_from
from tael.runtime.settings import NatsSettings
from tests.support.nats import NatsServer
from tests.support.nats_auth import ACCOUNT, USER, Key, Operator
from tests.support.otlp import eventually

BCRYPT_OF_SECRET = "$2b$04$MXEnnFSxH786ZbTy8bfER.oPyPtGcdSZ3SX6bk1NxWekIlP17dOG."


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at always, and who is not let in is not waited for."""
    monkeypatch.setattr(watched, "_LOOK_EVERY_SECONDS", -1)
    monkeypatch.setattr(runtime_nats, "_FIRST_WAIT_SECONDS", 2)


@contextlib.contextmanager
def running(directory: Path, authorization: str) -> Iterator[NatsServer]:
    server = NatsServer(directory, authorization=authorization)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def settings(server: NatsServer, user: str = "", file: Path | None = None) -> NatsSettings:
    where = urlsplit(server.url).netloc
    return load(NatsSettings, {"TAEL_NATS_URL": f"nats://{user}{where}", "TAEL_NATS_CREDS_FILE": str(file or "")})


async def let_in(found: NatsSettings) -> bool:
    """Whether a server takes these settings, and then lets a stream be made."""
    async with runtime_nats.connection(found, "t") as client:
        if not client.is_connected:
            return False
        await client.jetstream().add_stream(name="s", subjects=["s"])
        return True


@pytest.mark.parametrize(
    ("authorization", "right", "wrong"),
    [
        ("authorization {user: tael, password: secret}", "tael:secret@", "tael:other@"),
        (f'authorization {{user: tael, password: "{BCRYPT_OF_SECRET}"}}', "tael:secret@", f"tael:{BCRYPT_OF_SECRET}@"),
        ("authorization {token: s3cr3t}", "s3cr3t@", "other@"),
    ],
    ids=["password", "password that the server keeps as bcrypt", "token"],
)
async def test_credentials_in_the_url(tmp_path: Path, authorization: str, right: str, wrong: str) -> None:
    with running(tmp_path / "nats", authorization) as server:
        assert await let_in(settings(server, right))
        assert not await let_in(settings(server, wrong))
        assert not await let_in(settings(server))


async def test_an_nkey(tmp_path: Path) -> None:
    known, stranger, file = Key.make(), Key.make(), tmp_path / "seed"
    with running(tmp_path / "nats", f"authorization {{users: [{{nkey: {known.public}}}]}}") as server:
        file.write_text(known.seed + "\n")
        assert await let_in(settings(server, file=file))
        file.write_text(stranger.seed)
        assert not await let_in(settings(server, file=file))


async def test_a_user_with_a_jwt(tmp_path: Path) -> None:
    operator, file = Operator(), tmp_path / "tael.creds"
    with running(tmp_path / "nats", operator.configuration()) as server:
        file.write_text(operator.credentials())
        assert await let_in(settings(server, file=file))
        file.write_text(Operator().credentials())
        assert not await let_in(settings(server, file=file))


async def test_a_renewed_file_is_used_when_the_old_jwt_has_expired(tmp_path: Path) -> None:
    """The server ends the connection of an expired user; a file that is bad by then changes nothing, and the next good one lets the process
    in.
    """
    operator, file = Operator(), tmp_path / "tael.creds"
    with running(tmp_path / "nats", operator.configuration()) as server:
        file.write_text(operator.credentials(expires=time.time() + 2))
        async with runtime_nats.connection(settings(server, file=file), "t") as client:
            assert client.is_connected
            file.write_text("half a file")
            await eventually(lambda: not client.is_connected)
            file.write_text(operator.credentials())
            await eventually(lambda: client.is_connected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no seed",
        "SUAHWPVWWJGM",
        "-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n",
        Key.make(ACCOUNT).seed,
        Operator().credentials().replace("USER NKEY SEED", "OTHER"),
        Key.make().seed[:-1] + "?",
        Key(USER, SigningKey(b"x" * 32)).seed.replace("P", "Q"),
    ],
    ids=[
        "nothing",
        "no seed",
        "a piece of a seed",
        "no seed behind the JWT",
        "an account's seed",
        "a seed without its marks",
        "no base 32",
        "a mistyped seed",
    ],
)
async def test_another_file_is_refused_at_the_start_and_never_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tael.creds"
    file.write_text(text)
    found = load(NatsSettings, {"TAEL_NATS_URL": "nats://127.0.0.1:1", "TAEL_NATS_CREDS_FILE": str(file)})
    with pytest.raises(BadSettings, match=r"TAEL_NATS_CREDS_FILE=.*cannot be used") as raised:
        async with runtime_nats.connection(found, "t"):
            pass
    assert not text or text not in str(raised.value)


def test_a_file_that_is_not_there_is_refused_and_so_are_two_kinds_of_credentials(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="No such file"):
        keys_from(load(NatsSettings, {"TAEL_NATS_CREDS_FILE": str(tmp_path / "none")}))
    with pytest.raises(BadSettings, match="exclude each other"):
        load(NatsSettings, {"TAEL_NATS_URL": "nats://tael:secret@nats:4222", "TAEL_NATS_CREDS_FILE": "/x"})
