"""Counts what statements read, from the ``X-ClickHouse-Summary`` of their answers."""

from __future__ import annotations

from typing import Any, Final

import orjson
from clickhouse_connect.driver.asyncclient import AsyncClient

from tael.storage import work

_HEADER: Final = "X-ClickHouse-Summary"


def count_reads(client: AsyncClient) -> None:
    """Add what each of the client's statements reads to the work of its question.

    The client returns summaries of few of its calls, and none of raw ones, so this wraps the one method through which all requests go. The
    summary is complete: whoever counts asks servers to answer when a statement has ended (``wait_end_of_query``).
    """
    backend = client._backend  # noqa: SLF001  # see above
    request = backend.request

    async def counted(*args: Any, **kwargs: Any) -> Any:
        response = await request(*args, **kwargs)
        if work.is_measured():
            rows, size = _read(response.headers.get(_HEADER, ""))
            work.add(statements=1, rows=rows, size=size)
        return response

    backend.request = counted  # type: ignore[method-assign]


def _read(summary: str) -> tuple[int, int]:
    """Rows and bytes; zeros for what is not a summary, as of a proxy in between."""
    try:
        found = orjson.loads(summary)
        return int(found["read_rows"]), int(found["read_bytes"])
    except (ValueError, TypeError, KeyError):
        return 0, 0
