"""The commands on retention and deletions."""

from __future__ import annotations

import click

from tael.cli.options import Chosen, global_options


@click.command()
@global_options
@click.pass_obj
def retention(options: Chosen) -> None:
    """How long each tenant's signals are kept, what is stored of them, and what expires next."""
    options.show(options.client().get("api", "v1", "retention"), "print_retention")


@click.command()
@global_options
@click.argument("kind", type=click.Choice(["trace", "user", "session", "tenant"]))
@click.argument("value", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(options: Chosen, kind: str, value: str, *, yes: bool) -> None:
    """Delete a trace by its id, or everything received so far of a user, a session or a tenant.

    Deleting a user or a session deletes all traces that name it. `tael deletions` shows the progress.
    """
    if not value.strip():
        raise click.BadParameter("it is empty", param_hint=f"the {kind}'s NAME")
    if not yes:
        click.confirm(f"Delete {kind} {value} for good?", abort=True, err=True)
    options.show(options.client().send("POST", "api", "v1", "deletions", parameters=[(kind, value)]), "print_deletion")


@click.command()
@global_options
@click.argument("deletion_id", metavar="[ID]", required=False)
@click.option("--limit", type=click.IntRange(min=1), help="Deletions in one answer [100].")
@click.pass_obj
def deletions(options: Chosen, deletion_id: str | None, limit: int | None) -> None:
    """Requested deletions and their progress, newest first; with an ID, that deletion shard by shard."""
    client = options.client()
    if deletion_id:
        options.show(client.get("api", "v1", "deletions", deletion_id), "print_deletion")
    else:
        options.show(client.get("api", "v1", "deletions", parameters=[("limit", limit)]), "print_deletions")
