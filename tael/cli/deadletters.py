"""The commands about what the hot tier refused for good: ``tael deadletter``."""

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
def list_letters(asked: Chosen, /, **filters: object) -> None:
    """The dead letters, oldest first."""
    asked.show(asked.client().get(*_PATH, parameters=filters.items()), "print_letters")


@deadletter.command()
@global_options
@click.argument("letter_id", metavar="ID")
@click.pass_obj
def show(asked: Chosen, letter_id: str) -> None:
    """One dead letter with its reason and its body, decoded."""
    asked.show(asked.client().get(*_PATH, letter_id), "print_letter")


@deadletter.command()
@global_options
@click.argument("letter_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def replay(asked: Chosen, letter_ids: tuple[str, ...]) -> None:
    """Append dead letters to the WAL again; each is removed once that is durable."""
    client = asked.client()
    done = [client.send("POST", *_PATH, letter_id, "replay") for letter_id in letter_ids]
    asked.show({"letters": done, "next": None}, "print_letters")


@deadletter.command()
@global_options
@click.argument("letter_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def drop(asked: Chosen, letter_ids: tuple[str, ...]) -> None:
    """Remove dead letters for good."""
    client = asked.client()
    done = [client.send("DELETE", *_PATH, letter_id) for letter_id in letter_ids]
    asked.show({"letters": done, "next": None}, "print_letters")
