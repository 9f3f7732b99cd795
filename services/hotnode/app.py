"""The hot node as a process: opens the engine, listens, and at the end lets statements finish before it closes the engine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
from pathlib import Path
from typing import Final

from aiohttp import web

from services.hotnode import telemetry
from services.hotnode.bucket import engine_config
from services.hotnode.call import Credentials
from services.hotnode.engine import Engine
from services.hotnode.guard import rules_for
from services.hotnode.respond import Node
from services.hotnode.run import Runner
from services.hotnode.server import Server
from services.hotnode.sessions import Sessions, read_state
from services.hotnode.settings import HotNodeSettings
from services.hotnode.spool import Budget
from tael.errors import BadSettings
from tael.runtime import http
from tael.runtime.observe import get_logger
from tael.runtime.origins import is_loopback
from tael.runtime.service import Readiness, Stop, background
from tael.runtime.settings import ConnectionSettings

log = get_logger("hotnode")
_READ_BYTES: Final = 1 << 20
_UNREAD_SECONDS: Final = 600.0
"""How long a client may leave an answer unread; the suite's own client times out after half of that."""


async def run(settings: HotNodeSettings, stop: Stop) -> None:
    """Serve until stopped. Raises BadSettings when another process uses the data directory, PortTaken when it uses the address."""
    readiness = Readiness("engine")
    internal = http.internal_app(settings.internal_addr, readiness)
    async with http.serve(internal, settings.internal_addr, what="the internal endpoints'", variable="TAEL_INTERNAL_ADDR"):
        directory, engine = await asyncio.to_thread(_open, settings)
        readiness.set("engine")
        try:
            await _serve(settings, stop, engine, directory)
        finally:
            await asyncio.to_thread(engine.close)


def _open(settings: HotNodeSettings) -> tuple[Path, Engine]:
    directory = Path(settings.hotnode_data_dir).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        os.umask(0o077)  # no other user may read the engine's files
        os.chdir(directory)  # the engine keeps format schemas in the current directory
    except OSError as error:
        raise BadSettings([f"TAEL_HOTNODE_DATA_DIR={directory} cannot be used: {error.strerror}"]) from error
    _lock(directory)
    config = directory / "config.xml"
    config.unlink(missing_ok=True)  # an existing file would keep its mode
    config.write_text(engine_config(settings))
    options = {"max_server_memory_usage": settings.hotnode_memory_bytes, "uncompressed_cache_size": settings.hotnode_memory_bytes // 16}
    engine = Engine(directory / "engine", {**{name: str(size) for name, size in options.items()}, "config-file": str(config)})
    engine.open()
    return directory, engine


def _lock(directory: Path) -> None:
    """Lock the directory until the process ends, for a clearer error than the engine's own."""
    descriptor = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BadSettings([f"the data directory {directory} is in use by another process; set TAEL_HOTNODE_DATA_DIR to another"]) from error


async def _serve(settings: HotNodeSettings, stop: Stop, engine: Engine, directory: Path) -> None:
    spool_dir = directory / "spool"
    # Remove what a killed process has left.
    shutil.rmtree(spool_dir, ignore_errors=True)
    spool_dir.mkdir()
    runner = Runner(engine, threads=settings.hotnode_threads, waiting=settings.hotnode_waiting)
    connection = engine.connect()
    sessions = Sessions(read_state(connection))
    connection.close()
    known = Credentials(settings.clickhouse_user, settings.clickhouse_password)
    node = Node(socket.gethostname(), engine.timezone, engine.version)
    budget = Budget(settings.hotnode_body_memory_bytes)
    telemetry.observe(lambda: runner.running, lambda: budget.used)
    rules = rules_for(engine.table_functions, engine.engines, settings.bucket_url)
    server = Server(
        runner,
        sessions,
        known,
        node,
        budget,
        spool_dir,
        rules=rules,
        loopback_only=is_loopback(settings.hotnode_addr.host),
    )
    app = web.Application()
    server.add_routes(app)
    try:
        async with http.serve(
            app,
            settings.hotnode_addr,
            what="the hot node's",
            variable="TAEL_HOTNODE_ADDR",
            # The first half is for statements to finish, the second for the cancelled ones to stop.
            drain_seconds=2 * settings.hotnode_drain_seconds,
            # receive.py decompresses: in threads, into a bounded spool, and with encodings that aiohttp does not know.
            auto_decompress=False,
            read_bytes=_READ_BYTES,
            limits=_limits(settings),
            refuse_unread=_refuse,
        ) as bound:
            log.info("hot node ready", url=f"http://{bound}", engine=engine.version)
            async with background(server.expire_sessions()):
                await stop.wait()
    finally:
        await server.close()
        await runner.close()


def _limits(settings: HotNodeSettings) -> ConnectionSettings:
    """A client must send its request's head soon, but may then send rows as slowly as it produces them."""
    own = {"TAEL_HEADER_SECS": settings.header_seconds, "TAEL_BODY_BYTES_PER_SEC": "0", "TAEL_BODY_WINDOW_SECS": _UNREAD_SECONDS / 6}
    return ConnectionSettings.model_validate(own)


def _refuse(_: web.Request, __: str, error: web.HTTPException) -> web.Response:
    """The answer to a request that is not HTTP: plain text, like every error of ClickHouse."""
    return web.Response(status=error.status, text=f"{error.reason}\n")
