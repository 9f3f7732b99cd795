"""``tael backup`` and ``tael restore`` of the cluster's state; they connect to NATS directly, with the settings of a service."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import click

from tael.cli.client import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, Failed
from tael.errors import BadSettings, Conflict, Rejected, Retryable

T = TypeVar("T")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Write leases, shard map and manifest heads to FILE (- is standard output).

    Needs the settings of a service: TAEL_NATS_URL, TAEL_NATS_CREDS_FILE, TAEL_CLUSTER_ID, and those of TLS.
    """
    from tael.cluster.backup import take

    text = _with_state(take)
    if str(file) == "-":
        sys.stdout.buffer.write(text)
        return
    fresh = file.with_name(f".{file.name}.new")
    try:
        fresh.write_bytes(text)
        fresh.replace(file)
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {file} ({len(text)} bytes)")


@click.command()
@click.argument("file", type=click.File("rb"))
def restore(file: BinaryIO) -> None:
    """Put a backup's leases and shard map into a NATS that has lost them, before any service is started.

    Needs the same settings as backup. Refuses to touch a cluster that has state.
    """
    from tael.cluster.backup import put_back

    text = file.read()
    keys = _with_state(lambda kv, cluster_id: put_back(kv, text, cluster_id), make=True)
    click.echo(f"restored {len(keys)} keys: {', '.join(keys)}")


def _with_state(ask: Callable[..., Awaitable[T]], *, make: bool = False) -> T:
    """Call ``ask`` with the cluster's key-value store and id, and return its result. Raises Failed."""
    try:
        return asyncio.run(_asked(ask, make=make))
    except BadSettings as error:
        raise Failed("\n".join(error.problems), EXIT_USAGE) from None
    except Rejected as error:
        raise Failed(str(error), EXIT_USAGE) from None
    except Conflict as error:
        raise Failed(str(error), EXIT_FAILED) from None
    except Retryable as error:
        raise Failed(f"{error}: is TAEL_NATS_URL right?", EXIT_UNREACHABLE) from None


async def _asked(ask: Callable[..., Awaitable[T]], *, make: bool) -> T:
    from tael.cluster.nats_kv import NatsKeyValue
    from tael.runtime.config import load, variables
    from tael.runtime.nats import connection
    from tael.runtime.observe import configure_logging
    from tael.runtime.settings import StateSettings

    # The environment may be that of a service, with more variables than these settings know.
    settings = load(StateSettings, {name: value for name, value in os.environ.items() if name in variables(StateSettings)})
    configure_logging(settings.model_copy(update={"log_level": "error"}), "backup")
    async with connection(settings, "tael-backup") as client:
        kv = NatsKeyValue(client, settings.cluster_id, replicas=settings.wal_replicas)
        if make:
            await kv.ensure()
        return await ask(kv, settings.cluster_id)
