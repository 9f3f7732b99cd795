"""``tael deadletter``: commands on the items that the hot tier refused for good."""

from __future__ import annotations

import click

from tael.cli.options import Chosen, global_options

_PATH = ("api", "v1", "admin", "deadletters")


@click.group()
def deadletter() -> None:
    """Items that the hot tier refused for good: list, show, replay or drop them."""


@deadletter.command(name="list")
@global_options
@click.option("--signal", type=click.Choice(["traces", "logs", "metrics"]), help="Only of this signal.")
@click.option("--shard", type=click.IntRange(min=0), help="Only of this shard.")
@click.option("--after", metavar="ID", type=click.IntRange(min=0), help="After this one: the `next` of the previous answer.")
@click.option("--limit", type=click.IntRange(min=1), help="Dead letters in one answer [100].")
@click.pass_obj
def list_letters(options: Chosen, /, **filters: object) -> None:
    """The dead letters, oldest first."""
    options.show(options.client().get(*_PATH, parameters=filters.items()), "print_letters")


@deadletter.command()
@global_options
@click.argument("letter_id", metavar="ID")
@click.pass_obj
def show(options: Chosen, letter_id: str) -> None:
    """One dead letter with its reason and its body, decoded."""
    options.show(options.client().get(*_PATH, letter_id), "print_letter")


@deadletter.command()
@global_options
@click.argument("letter_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def replay(options: Chosen, letter_ids: tuple[str, ...]) -> None:
    """Append dead letters to the WAL again; each is removed once its append is durable."""
    client = options.client()
    done = [client.send("POST", *_PATH, letter_id, "replay") for letter_id in letter_ids]
    options.show({"letters": done, "next": None}, "print_letters")


@deadletter.command()
@global_options
@click.argument("letter_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def drop(options: Chosen, letter_ids: tuple[str, ...]) -> None:
    """Remove dead letters for good."""
    client = options.client()
    done = [client.send("DELETE", *_PATH, letter_id) for letter_id in letter_ids]
    options.show({"letters": done, "next": None}, "print_letters")
