"""How a command reports a failure: as text for people, or with an explicit ``--format json`` as a JSON object on standard error."""

from __future__ import annotations

import json
from typing import IO, Any

import click


class AsJson(click.ClickException):
    """Wraps a failure to show it as ``{"error": text, "exit_code": code}``."""

    def __init__(self, failure: click.ClickException) -> None:
        super().__init__(failure.format_message())
        self.exit_code = failure.exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error."""
        click.echo(json.dumps({"error": self.message, "exit_code": self.exit_code}, ensure_ascii=False), file=file, err=file is None)


class Root(click.Group):
    """The root command. Without arguments it prints its help; with ``--format json`` parsed before a failure, it reports that as JSON."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Print the help for a bare ``tael``, with exit code 0 instead of click's usage error."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the named command."""
        try:
            return super().invoke(ctx)
        except click.ClickException as failure:
            if getattr(ctx.obj, "output", "") == "json":
                raise AsJson(failure) from None
            raise
