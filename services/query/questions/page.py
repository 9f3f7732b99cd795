"""Lists in pages: the request for a page, and the page. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.query.parameters import Parameters
from services.query.questions.cursor import query_digest
from tael.model.time import TimeRange

C = TypeVar("C")
T = TypeVar("T")
RANGE: Final = ("last", "start", "end")
_DEFAULT_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items, newest first; ``cursor`` requests the next page and is None on the last one. ``missing`` shards did not contribute.

    ``unresolved`` counts references to payloads that should have been resolved and were not.
    """

    items: Sequence[T]
    cursor: str | None
    missing: tuple[str, ...]
    unresolved: int = 0


@dataclass(frozen=True, slots=True)
class PageRequest(Generic[C]):
    """A request for a page: ``after`` is where the page before ended. The filters are in ``parameters``; their digest goes into
    the cursor.
    """

    parameters: Parameters
    time_range: TimeRange
    limit: int
    after: C | None
    digest: bytes


def read_page(
    pairs: Sequence[tuple[str, str]],
    filters: Sequence[str],
    decode: Callable[[str, bytes], tuple[C, TimeRange]],
    *,
    now_ns: int,
    max_limit: int,
) -> PageRequest[C]:
    """Read the request for a page from parameters: ``filters`` and ``attribute``, a range, ``limit`` and ``cursor``. Raises Rejected."""
    parameters = Parameters(pairs, known=(*filters, *RANGE, "limit", "cursor"), repeatable=("attribute",))
    limit = parameters.whole("limit", default=_DEFAULT_LIMIT, low=1, high=max_limit, high_from="TAEL_MAX_QUERY_LIMIT")
    time_range = parameters.time_range(now_ns=now_ns)
    # Without the limit: the next page may be of a different size.
    digest = query_digest([(name, value) for name, value in pairs if value and name not in ("limit", "cursor")])
    after = None
    if parameters.text("cursor"):
        after, time_range = decode(parameters.text("cursor"), digest)
    return PageRequest(parameters, time_range, limit, after, digest)
