"""Databases for tests, each with every table and without a row. To migrate one takes seconds: those of a shared node are emptied and used
again, and a node begins with a copy of one.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pickle
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tael.errors import Retryable
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema
from tests.support.hotnode import HotNode
from tests.support.objects import object_settings

C = TypeVar("C", bound=ClickHouse)
MakeNode = Callable[..., HotNode]
MIGRATED = "tael"
"""The database that a node begins with, which is that of a suite."""


def new_database() -> str:
    """A unique database name."""
    return f"t_{secrets.token_hex(6)}"


@asynccontextmanager
async def migrated(clickhouse: ClickHouse) -> AsyncIterator[None]:
    """A new database with every table; at the end it is dropped and the client closed, as each takes 17 MiB of a shared node."""
    try:
        await ClickHouseSchema(clickhouse).migrate()
        yield
    finally:
        with suppress(Retryable):  # the test has stopped the node
            await clickhouse.command(f"DROP DATABASE IF EXISTS {clickhouse.database} SYNC")
        await clickhouse.close()


@dataclass(frozen=True)
class _Migrated:
    """A migrated database without a row, and how it was then, to tell what a test has changed."""

    name: str
    schema: object
    touched: object
    parts: Mapping[bytes, object]


_idle: dict[str, list[_Migrated]] = {}
"""By URL of a node: databases for the next test; to migrate one takes seconds."""


@asynccontextmanager
async def empty_shard(node: HotNode, client: Callable[..., C]) -> AsyncIterator[C]:
    """A client of a migrated database without a row, which is emptied for the next test, or dropped if this one has altered it."""
    kept = _idle[node.url].pop() if _idle.get(node.url) else None
    clickhouse = client(node.url, kept.name if kept else new_database(), node.user, node.password)
    if kept is None:
        kept = await _migrate(clickhouse)
    try:
        yield clickhouse
    finally:
        with suppress(Retryable):  # the test has stopped the node
            # To print every definition takes eight times as long as to see that none was touched.
            if (touched := await _touched(clickhouse)) == kept.touched or await _schema_of(clickhouse) == kept.schema:
                await _empty(clickhouse, kept)
                _idle.setdefault(node.url, []).append(replace(kept, touched=touched))
            else:
                await clickhouse.command(f"DROP DATABASE IF EXISTS {kept.name} SYNC")
        await clickhouse.close()


async def _migrate(clickhouse: ClickHouse) -> _Migrated:
    await ClickHouseSchema(clickhouse).migrate()
    return _Migrated(clickhouse.database, await _schema_of(clickhouse), await _touched(clickhouse), await _parts(clickhouse))


async def _schema_of(clickhouse: ClickHouse) -> object:
    return await _tables_with(clickhouse, "create_table_query")


async def _touched(clickhouse: ClickHouse) -> object:
    # Times are whole seconds: of what was altered in this very second it cannot be told later whether it was altered once more.
    return await _tables_with(clickhouse, "uuid, metadata_modification_time, metadata_modification_time < now()")


async def _tables_with(clickhouse: ClickHouse, columns: str) -> object:
    tables = f"SELECT name, {columns} FROM system.tables WHERE database = '{clickhouse.database}' ORDER BY name"
    migrations = f"SELECT DISTINCT version FROM {clickhouse.database}.tael_migrations ORDER BY version"
    return await clickhouse.query(tables, {}), await clickhouse.query(migrations, {})


async def _parts(clickhouse: ClickHouse) -> dict[bytes, object]:
    """The names of each table's parts. One without a row is a part too: it has its insert's token, which goes with the last part that
    covers it.
    """
    parts = f"SELECT table, groupArray(name) FROM system.parts WHERE active AND database = '{clickhouse.database}' GROUP BY table"
    return {row[0]: row[1] for row in await clickhouse.query(parts, {})}


async def _empty(clickhouse: ClickHouse, kept: _Migrated) -> None:
    changed = {name for name, parts in (await _parts(clickhouse)).items() if parts != kept.parts.get(name)} - {b"tael_migrations"}
    for name in changed:
        await clickhouse.command(f"TRUNCATE TABLE {clickhouse.database}.{name.decode()}")
    if b"tael_known_references" in changed:
        await clickhouse.command(f"INSERT INTO {clickhouse.database}.tael_known_references SELECT 'empty', now64(9)")  # as migrated


@dataclass(frozen=True)
class Template:
    """The directory of a hot node that has made the tables of MIGRATED, and has stopped."""

    directory: Path
    kept: _Migrated

    def node(self, directory: Path, **options: Any) -> HotNode:
        """A hot node, not started yet, over a copy of it; ``options`` are HotNode's own."""
        shutil.copytree(self.directory, directory, symlinks=True)
        node = HotNode(directory, **options)
        _idle[node.url] = [self.kept]
        return node


async def _made(node: HotNode) -> _Migrated:
    clickhouse = ClickHouse(node.url, MIGRATED, node.user, node.password)
    try:
        return await _migrate(clickhouse)
    finally:
        await clickhouse.close()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Made once by the first of the processes that tests run in: each has a directory in that of the whole run."""
    own = tmp_path_factory.getbasetemp()
    directory = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "migrated"
    directory.mkdir(exist_ok=True)
    hot, kept = directory / "hot", directory / "kept"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            shutil.rmtree(hot, ignore_errors=True)  # of a process that died
            with HotNode(hot) as node:
                # In a thread: the first fixture that needs the template may be one that runs in a loop.
                with ThreadPoolExecutor(1) as thread:
                    made = thread.submit(lambda: asyncio.run(_made(node))).result()
                node.stop()
            kept.write_bytes(pickle.dumps(made))
        return Template(hot, pickle.loads(kept.read_bytes()))  # noqa: S301  # what was written here


@pytest.fixture
def migrated_nodes(tmp_path: Path, template: Template) -> Iterator[MakeNode]:
    """``hot_nodes`` that have the tables of MIGRATED, which is the first database that ``empty_shard`` takes."""
    numbers = count()
    with ExitStack() as nodes:
        yield lambda **options: nodes.enter_context(template.node(tmp_path / f"migrated{next(numbers)}", **options))


@pytest.fixture(scope="session")
def shared_hot_node(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[HotNode]:
    """One hot node for the whole run: use a database of your own in it."""
    with template.node(tmp_path_factory.mktemp("hotnode") / "hot", environment=object_settings()) as node:
        yield node


@pytest.fixture(scope="session")
def second_hot_node(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[HotNode]:
    """Another hot node for the whole run, for tests of two shards."""
    with template.node(tmp_path_factory.mktemp("hotnode") / "second", environment=object_settings()) as node:
        yield node
