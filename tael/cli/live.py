"""Follows a live stream item by item, and reconnects when it breaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import click

from tael.cli.client import EXIT_UNREACHABLE, Client, Failed

_AGAIN_SECONDS = 2.0


def follow(
    client: Client, signal: str, parameters: Sequence[tuple[str, object]], show: Callable[[Mapping[str, Any]], None], count: int | None
) -> None:
    """Show items until Ctrl-C, or until ``count`` were shown. Raises Failed when the server refuses, or cannot be reached at the start."""
    try:
        for item in islice(_items(client, signal, parameters), count):
            show(item)
    except KeyboardInterrupt:
        return


def _items(client: Client, signal: str, parameters: Sequence[tuple[str, object]]) -> Iterator[Mapping[str, Any]]:
    begun = False
    while True:
        try:
            for name, value in client.stream("api", "v1", signal, "live", parameters=parameters):
                if name == "open" and not begun:
                    click.echo(f"waiting for matching {signal}; press Ctrl-C to stop", err=True)
                begun = True
                if name == "message":
                    yield from value
                else:
                    _warn(name, value)
        except Failed as failed:
            if failed.exit_code != EXIT_UNREACHABLE or not begun:
                raise
            click.echo(f"warning: {failed.message.splitlines()[0]}", err=True)
        time.sleep(_AGAIN_SECONDS)


def _warn(name: str, value: Mapping[str, Any]) -> None:
    if name == "dropped":
        click.echo(f"warning: this stream fell behind and may have missed {value['count']} items", err=True)
    elif name == "end":
        click.echo(f"warning: {value['reason']}; reconnecting", err=True)
