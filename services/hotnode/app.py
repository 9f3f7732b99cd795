"""The hot node as a process: opens the engine, listens, and on the way out lets statements finish before it closes the engine."""

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
from services.hotnode.connections import QuietRunner
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
from tael.runtime.service import Readiness, Stop, background, listening

log = get_logger("hotnode")
_URI_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 20


async def run(settings: HotNodeSettings, stop: Stop) -> None:
    """Serve until told to stop. Raises BadSettings when the directory is another process's, PortTaken for the address."""
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
        os.umask(0o077)  # the engine's files are read by nobody else
        os.chdir(directory)  # the engine keeps format schemas in the current directory
    except OSError as error:
        raise BadSettings([f"TAEL_HOTNODE_DATA_DIR={directory} cannot be used: {error.strerror}"]) from error
    _lock(directory)
    config = directory / "config.xml"
    config.unlink(missing_ok=True)  # a file that was there would keep its mode
    config.write_text(engine_config(settings))
    engine = Engine(directory / "engine", {"max_server_memory_usage": str(settings.hotnode_memory_bytes), "config-file": str(config)})
    engine.open()
    return directory, engine


def _lock(directory: Path) -> None:
    """Hold the directory until the process ends, before the engine finds out in its own way."""
    descriptor = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BadSettings([f"the data directory {directory} is in use by another process; set TAEL_HOTNODE_DATA_DIR to another"]) from error


async def _serve(settings: HotNodeSettings, stop: Stop, engine: Engine, directory: Path) -> None:
    spool_dir = directory / "spool"
    # What a process that was killed has left: nobody reads it any more.
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
    web_runner = QuietRunner(
        app,
        access_log=None,
        shutdown_timeout=settings.hotnode_drain_seconds,
        # A client that goes away stops its statement.
        handler_cancellation=True,
        # receive.py decompresses: in threads, into a bounded spool, and encodings that aiohttp does not know.
        auto_decompress=False,
        max_line_size=_URI_BYTES,
        max_field_size=_URI_BYTES,
        read_bufsize=_READ_BYTES,
    )
    await web_runner.setup()
    try:
        address = settings.hotnode_addr
        with listening("the hot node's", address, "TAEL_HOTNODE_ADDR"):
            await web.TCPSite(web_runner, address.host, address.port).start()
        log.info("hot node ready", url=f"http://{address.host}:{web_runner.addresses[0][1]}", engine=engine.version)
        async with background(server.expire_sessions()):
            await stop.wait()
    finally:
        await web_runner.cleanup()
        await server.close()
        await runner.close()
