"""The commands about what is kept: retention."""

from __future__ import annotations

import click

from tael.cli.commands import Chosen, global_options


@click.command()
@global_options
@click.pass_obj
def retention(asked: Chosen) -> None:
    """How long each tenant's signals are to be kept, what is stored of them, and what goes next."""
    asked.show(asked.client().get("api", "v1", "retention"), "print_retention")
