"""``tael cold``: status, roll and rebuild of the cold tier."""

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
    """Show and control the data that has moved to the object store."""


@cold.command()
@global_options
@click.pass_obj
def status(options: Chosen) -> None:
    """Files of each shard and table, hours on their way, and what is hot."""
    options.show(options.client().get(*_PATH), "print_cold")


@cold.command()
@click.option("--before", required=True, metavar="TIME", type=Instant(), help=f"Hours that ended before this time: {TIMES}.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=600.0,
    metavar="SECONDS",
    help="How long to watch; rolling continues afterwards [600].",
)
@global_options
@click.pass_obj
def roll(options: Chosen, before: str, timeout: float) -> None:
    """Roll hours now, regardless of the hot window, and watch until none of their rows is hot."""
    from rich.console import Console
    from rich.progress import Progress

    client = options.client()
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
            f"after {timeout:g} s {sum(left.values())} rows are still hot; rolling continues where TAEL_COLD_TIER is on: see `tael cold status`"
        )
    options.show(client.get(*_PATH), "print_cold")


@cold.command()
@click.option("--force", is_flag=True, help="Rebuild manifests that are readable, too.")
@global_options
@click.pass_obj
def rebuild(options: Chosen, force: bool) -> None:  # click passes it by name
    """Restore manifests that NATS lost, or that are damaged, from the object store alone."""
    client = options.client()
    answer = client.send("POST", *_PATH, "rebuild", parameters=[("force", "true")] if force else [])
    for shard in answer["restoring"]:
        click.echo(f"{shard}: its compactor is restoring it", err=True)
    options.show(client.get(*_PATH), "print_cold")


def _left(client: Client, before: str) -> Mapping[str, int]:
    """By shard, the hot rows before that time plus the hours on their way."""
    answer: dict[str, Any] = client.get(*_PATH, parameters=[("before", before)])
    return {one["shard"]: one["hot_before"]["rows"] + len(one["on_their_way"]) for one in answer["shards"]}
