"""``tael cold``: status, roll and rebuild of the cold tier."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
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
    answer = client.get(*_PATH, parameters=[("before", before)])
    client.send("POST", *_PATH, "roll", parameters=[("before", before)])
    left = waiting = _left(answer)
    if not waiting and not answer.get("partial"):
        click.echo("nothing to roll: no hour that ended before then is hot", err=True)
    with Progress(*Progress.get_default_columns(), console=Console(stderr=True), disable=not waiting) as progress:
        task = progress.add_task(f"rolling {len(waiting)} shard(s)", total=sum(waiting.values()))
        for answer in _looks(client, timeout, [("before", before)]) if waiting else ():
            left = _left(answer)
            progress.update(task, completed=max(0, sum(waiting.values()) - sum(left.values())))
            if not left:
                break
    if left:
        raise click.ClickException(
            f"after {timeout:g} s {sum(left.values())} rows are still hot; rolling continues where TAEL_COLD_TIER is on: see `tael cold status`"
        )
    options.show(client.get(*_PATH), "print_cold")


@cold.command()
@click.option("--force", is_flag=True, help="Rebuild manifests that are readable, too.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    metavar="SECONDS",
    help="How long to wait until they are restored; it continues afterwards [60].",
)
@global_options
@click.pass_obj
def rebuild(options: Chosen, force: bool, timeout: float) -> None:  # click passes it by name
    """Restore manifests that NATS lost, or that are damaged, from the object store alone, and wait for it."""
    client = options.client()
    restoring = client.send("POST", *_PATH, "rebuild", parameters=[("force", "true")] if force else [])["restoring"]
    if not restoring:
        click.echo("nothing to restore: every manifest is readable (--force restores these too)", err=True)
    for shard in restoring:
        click.echo(f"{shard}: its compactor is restoring it", err=True)
    for answer in _looks(client, timeout):
        left = _unreadable(answer, restoring)
        if not left:
            break
    options.show(answer, "print_cold")
    if left:
        raise click.ClickException(
            f"after {timeout:g} s not restored: {', '.join(left)}. The compactor that holds the shard does it: see `tael doctor`, and its log"
        )


def _unreadable(answer: Mapping[str, Any], shards: Collection[str]) -> list[str]:
    return [one["shard"] for one in answer["shards"] if one["shard"] in shards and one["manifest"] != "ok"]


def _looks(client: Client, timeout: float, parameters: Sequence[tuple[str, str]] = ()) -> Iterator[dict[str, Any]]:
    """The state of the cold tier now, and every half a second until the time is over."""
    deadline = time.monotonic() + timeout
    yield client.get(*_PATH, parameters=parameters)
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        yield client.get(*_PATH, parameters=parameters)


def _left(answer: Mapping[str, Any]) -> Mapping[str, int]:
    """By shard that has any, the hot rows before the time that was asked about plus the hours on their way."""
    left = {one["shard"]: one["hot_before"]["rows"] + len(one["on_their_way"]) for one in answer["shards"]}
    return {shard: count for shard, count in left.items() if count}
