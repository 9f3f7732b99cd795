"""The commands about the cold tier: cold status, cold roll and cold rebuild."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from tael.cli.arguments import TIMES, Instant
from tael.cli.client import Client
from tael.cli.options import Chosen, global_options

_PATH = ("api", "v1", "admin", "cold")
_LOOK_SECONDS = 0.5


@click.group()
def cold() -> None:
    """What has left the hot tier for the object store."""


@cold.command()
@global_options
@click.pass_obj
def status(asked: Chosen) -> None:
    """Files of each shard and table, hours on their way, and what is hot."""
    asked.show(asked.client().get(*_PATH), "print_cold")


@cold.command()
@click.option("--before", required=True, metavar="TIME", type=Instant(), help=f"Hours that ended before this time: {TIMES}.")
@click.option("--timeout", type=click.FloatRange(min=0), default=600.0, metavar="SECONDS", help="How long to watch; rolling goes on [600].")
@global_options
@click.pass_obj
def roll(asked: Chosen, before: str, timeout: float) -> None:
    """Roll hours now, whatever the hot window says, and watch until nothing of them is hot."""
    from rich.console import Console
    from rich.progress import Progress

    client = asked.client()
    waiting = _left(client, before)
    client.send("POST", *_PATH, "roll", parameters=[("before", before)])
    deadline = time.monotonic() + timeout
    left, total = waiting, max(1, sum(waiting.values()))
    with Progress(*Progress.get_default_columns(), console=Console(stderr=True)) as progress:
        task = progress.add_task(f"rolling {len(waiting)} shard(s)", total=total)
        while any(left.values()) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            left = _left(client, before)
            progress.update(task, completed=max(0, total - sum(left.values())))
    if any(left.values()):
        raise click.ClickException(
            f"after {timeout:g} s {sum(left.values())} rows are still hot; rolling goes on where TAEL_COLD_TIER is on: `tael cold status` shows it"
        )
    asked.show(client.get(*_PATH), "print_cold")


@cold.command()
@click.option("--force", is_flag=True, help="Also manifests that can be read.")
@global_options
@click.pass_obj
def rebuild(asked: Chosen, force: bool) -> None:  # click passes it by name
    """Restore manifests that NATS lost, or that are damaged, from the object store alone."""
    client = asked.client()
    answer = client.send("POST", *_PATH, "rebuild", parameters=[("force", "true")] if force else [])
    for shard in answer["restoring"]:
        click.echo(f"{shard}: its compactor restores it", err=True)
    asked.show(client.get(*_PATH), "print_cold")


def _left(client: Client, before: str) -> Mapping[str, int]:
    """Rows that are hot and older, or on their way, by shard."""
    answer: dict[str, Any] = client.get(*_PATH, parameters=[("before", before)])
    return {one["shard"]: one["hot_before"]["rows"] + len(one["on_their_way"]) for one in answer["shards"]}
