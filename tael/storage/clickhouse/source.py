"""Where the rows that a question asks for are, as what can stand after FROM: no statement names a table by itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from tael.cold.files import ColdFile
from tael.cold.manifest import OpenHour
from tael.model.time import ALL_TIME, TimeRange
from tael.storage.clickhouse import rollup


@dataclass(frozen=True, slots=True)
class Places:
    """Where rows are beside the hot table."""

    rolling: tuple[OpenHour, ...] = ()
    files: tuple[ColdFile, ...] = ()

    @property
    def hours(self) -> set[int]:
        """The starts of their hours."""
        return {one.hour_ns for one in self.rolling} | {hour_ns for file in self.files for hour_ns in file.each_hour}


class Source(Protocol):
    """The places of a shard's rows at one moment: every statement of a question MUST be made from the same source.

    Each row that could be seen at that moment MUST be in exactly one of the places that are named for it, and those MUST hold it until the
    question is answered. A place outside the range may be named; rows outside it may come back. Where all of a range is in the hot table,
    that table MUST be named as it is.
    """

    def words_indexed(self, table: str, time_range: TimeRange) -> bool:
        """Whether a text index knows the words of every row of the table in the range: of bodies of log records, of contents of payloads."""
        ...

    def elsewhere(self, table: str) -> bool:
        """Whether some rows of the table may be in another place than the hot table, so that it is worth finding out which hours are needed."""
        ...

    def in_files(self, table: str, hours: Collection[int]) -> bool:
        """Whether some rows of these hours may be in files, where each further statement costs extra."""
        ...

    def places(self, table: str, tenant: str | None) -> Places:
        """Where rows of the table are beside the hot one, of a tenant or of all, whether or not they can be read there."""
        ...

    def windows(self, table: str, time_range: TimeRange, *, oldest_first: bool = False) -> Sequence[TimeRange]:
        """The range in pieces, newest first or oldest first: what is found in the first ones need not be looked for in the others."""
        ...

    def rows(
        self,
        table: str,
        tenant: str,
        time_range: TimeRange = ALL_TIME,
        *,
        hours: Collection[int] | None = None,
        service: str = "",
        name: str = "",
    ) -> str:
        """The rows of ``table``, in the columns of the hot table, of at least this tenant and this range.

        ``hours`` (their starts, in nanoseconds), ``service`` and ``name`` (where not empty) are what the statement asks for besides: fewer
        places may do.
        """
        ...

    def merged(self, table: str, where: object, tenant: str, time_range: TimeRange = ALL_TIME) -> str:
        """Those that satisfy ``where``, which reads key columns alone, and of rows with one key the last; for tables that replace rows."""
        ...

    def rollups_until(self, table: str, tenant: str, time_range: TimeRange) -> int:
        """The end, in nanoseconds, of the last hour in the range whose rows of the tenant are a rollup (docs/adr/0022); 0 where none is."""
        ...

    def with_rollups(self, table: str, where: object, tenant: str, time_range: TimeRange) -> str:
        """As ``merged`` of samples or histograms, in the columns of rollups too, which are 0 in what is as it came."""
        ...


class HotTables:
    """See Source: everything is in the shard's own tables."""

    def __init__(self, database: str) -> None:
        self.database = database

    def words_indexed(self, table: str, time_range: TimeRange) -> bool:  # noqa: ARG002  # whatever the range
        """See Source."""
        return True

    def elsewhere(self, table: str) -> bool:  # noqa: ARG002  # whatever the table
        """See Source."""
        return False

    def in_files(self, table: str, hours: Collection[int]) -> bool:  # noqa: ARG002  # the same
        """See Source."""
        return False

    def places(self, table: str, tenant: str | None) -> Places:  # noqa: ARG002  # the same
        """See Source."""
        return Places()

    def windows(self, table: str, time_range: TimeRange, *, oldest_first: bool = False) -> Sequence[TimeRange]:  # noqa: ARG002  # the same
        """See Source."""
        return (time_range,)

    def rows(
        self,
        table: str,
        tenant: str,  # noqa: ARG002  # rows and partitions are pruned by the WHERE
        time_range: TimeRange = ALL_TIME,  # noqa: ARG002
        *,
        hours: Collection[int] | None = None,  # noqa: ARG002
        service: str = "",  # noqa: ARG002
        name: str = "",  # noqa: ARG002
    ) -> str:
        """See Source."""
        return f"{self.database}.{table}"

    def merged(self, table: str, where: object, tenant: str, time_range: TimeRange = ALL_TIME) -> str:  # noqa: ARG002  # the same
        """See Source. The condition goes before the merge: that it reads key columns alone makes it the same, and cheaper."""
        return f"{self.database}.{table} FINAL\nPREWHERE {where}"

    def rollups_until(self, table: str, tenant: str, time_range: TimeRange) -> int:  # noqa: ARG002  # whatever the range
        """See Source."""
        return 0

    def with_rollups(self, table: str, where: object, tenant: str, time_range: TimeRange) -> str:
        """See Source."""
        return f"(SELECT *, {rollup.none(table)} FROM {self.merged(table, where, tenant, time_range)})"  # noqa: S608  # names of ours and parameters
