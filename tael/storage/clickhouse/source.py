"""Where the rows that a question asks for are, as what can stand after FROM: no statement names a table by itself."""

from __future__ import annotations

from typing import Protocol

from tael.model.time import ALL_TIME, TimeRange


class Source(Protocol):
    """The places of a shard's rows at one moment: every statement of a question MUST be made from the same source.

    Each row that could be seen at that moment MUST be in exactly one of the places that are named for it, and those MUST hold it until the
    question is answered. A place outside the range may be named; rows outside it may come back.
    """

    @property
    def words_indexed(self) -> bool:
        """Whether a text index knows the words of every log record's body."""
        ...

    def rows(self, table: str, tenant: str, time_range: TimeRange = ALL_TIME) -> str:
        """The rows of ``table``, in the columns of the hot table, of at least this tenant and this range."""
        ...

    def merged(self, table: str, where: object, tenant: str, time_range: TimeRange = ALL_TIME) -> str:
        """Those that satisfy ``where``, which reads key columns alone, and of rows with one key the last; for tables that replace rows."""
        ...


class HotTables:
    """See Source: everything is in the shard's own tables."""

    def __init__(self, database: str) -> None:
        self._database = database

    @property
    def words_indexed(self) -> bool:
        """See Source."""
        return True

    def rows(self, table: str, tenant: str, time_range: TimeRange = ALL_TIME) -> str:  # noqa: ARG002  # a partition is pruned by the WHERE
        """See Source."""
        return f"{self._database}.{table}"

    def merged(self, table: str, where: object, tenant: str, time_range: TimeRange = ALL_TIME) -> str:  # noqa: ARG002  # the same
        """See Source. The condition goes before the merge: that it reads key columns alone makes it the same, and cheaper."""
        return f"{self._database}.{table} FINAL\nPREWHERE {where}"
