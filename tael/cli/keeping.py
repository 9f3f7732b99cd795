"""The commands about what is kept and what goes: retention and deletions."""

from __future__ import annotations

import click

from tael.cli.options import Chosen, global_options


@click.command()
@global_options
@click.pass_obj
def retention(asked: Chosen) -> None:
    """How long each tenant's signals are to be kept, what is stored of them, and what goes next."""
    asked.show(asked.client().get("api", "v1", "retention"), "print_retention")


@click.command()
@global_options
@click.argument("kind", type=click.Choice(["trace", "user", "session", "tenant"]))
@click.argument("value", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(asked: Chosen, kind: str, value: str, *, yes: bool) -> None:
    """Delete a trace by its id, or everything of a user, a session or a tenant that came up to now.

    With a user or a session go the traces that it is named in. `tael deletions` shows how far it is.
    """
    if not value.strip():
        raise click.BadParameter("it is empty", param_hint=f"the {kind}'s NAME")
    if not yes:
        click.confirm(f"Delete {kind} {value} for good?", abort=True, err=True)
    asked.show(asked.client().send("POST", "api", "v1", "deletions", parameters=[(kind, value)]), "print_deletion")


@click.command()
@global_options
@click.argument("deletion_id", metavar="[ID]", required=False)
@click.option("--limit", type=click.IntRange(min=1), help="Deletions in one answer [100].")
@click.pass_obj
def deletions(asked: Chosen, deletion_id: str | None, limit: int | None) -> None:
    """Deletions that were asked for and how far they are, the newest first; with an ID, that one by shard."""
    client = asked.client()
    if deletion_id:
        asked.show(client.get("api", "v1", "deletions", deletion_id), "print_deletion")
    else:
        asked.show(client.get("api", "v1", "deletions", parameters=[("limit", limit)]), "print_deletions")
