"""Where rows are, as SQL that can follow FROM: statements never name a table directly, because its rows may be in several places."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from tael.cold.files import ColdFile
from tael.cold.manifest import OpenHour
from tael.model.time import ALL_TIME, TimeRange
from tael.storage.clickhouse import rollup
from tael.storage.clickhouse.pack_words import Held


@dataclass(frozen=True, slots=True)
class Places:
    """Where rows are besides the hot table."""

    rolling: tuple[OpenHour, ...] = ()
    files: tuple[ColdFile, ...] = ()

    @property
    def hours(self) -> set[int]:
        """The starts of the hours of these places, ns."""
        return {one.hour_ns for one in self.rolling} | {hour_ns for file in self.files for hour_ns in file.each_hour}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one kind of place, as SQL that can follow FROM. Those of files lack the columns that only serve reads of tables."""

    sql: str
    in_files: bool = False


class Source(Protocol):
    """The places of a shard's rows at one moment. All statements of one question MUST be built from the same source.

    Each row that was visible at that moment MUST be in exactly one of the places that are returned for it, and MUST stay there until the
    question is answered. Places outside the range may be included, so rows outside it may be read. If all rows of a range are in the hot
    table, the plain name of that table MUST be returned.
    """

    def in_table(self, table: str, time_range: TimeRange) -> bool:
        """Whether every row of the table in the range is in the hot table, where text indexes cover it and a further statement costs
        little.
        """
        ...

    def elsewhere(self, table: str) -> bool:
        """Whether rows of the table may be outside the hot table, so that it pays to find out which hours are needed."""
        ...

    def places(self, table: str, tenant: str | None) -> Places:
        """The places besides the hot table with rows of a tenant, or of all, whether or not they can be read."""
        ...

    def windows(self, table: str, time_range: TimeRange, *, oldest_first: bool = False) -> Sequence[TimeRange]:
        """The range in pieces, newest first or oldest first: a page that is full after the first pieces need not look into the others."""
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
        used: str = "",
    ) -> str:
        """The rows of ``table``, in the columns of the hot table, of at least this tenant and this range.

        ``hours`` (their starts, in nanoseconds), ``service`` and ``name`` (unless empty) are further conditions of the statement, with
        which fewer places may suffice. ``used``, unless empty, is SQL that mentions every column that the statement uses: others may be
        missing.
        """
        ...

    def each(self, table: str, tenant: str, used: str, *, hours: Collection[int]) -> Sequence[Rows]:
        """``rows`` by kind of place, for a statement that is cheaper as a UNION ALL of statements than over one."""
        ...

    def packs(self, tenant: str, time_range: TimeRange) -> tuple[Sequence[ColdFile], str, bool]:
        """The packs of the range with an object of their words, the rows of these objects as a SELECT, and whether the range has no other
        payloads that are cold. () and "" when there are none.
        """
        ...

    def payloads(self, tenant: str, time_range: TimeRange, held: Held, words: Sequence[str]) -> str:
        """``rows`` of payloads, without packs and parts of them that ``held`` knows to have no content with all of the words."""
        ...

    def merged(self, table: str, where: object, tenant: str, time_range: TimeRange = ALL_TIME) -> str:
        """The rows that satisfy ``where``, which reads only key columns, with only the last of several rows with the same key; for
        replacing tables.
        """
        ...

    def rollups_until(self, table: str, tenant: str, time_range: TimeRange) -> int:
        """The end, in nanoseconds, of the last hour in the range for which the tenant has a rollup (docs/adr/0022); 0 when there
        is none.
        """
        ...

    def with_rollups(self, table: str, where: object, tenant: str, time_range: TimeRange) -> str:
        """``merged`` of samples or histograms, with the columns of rollups as well, which are 0 in raw rows."""
        ...


class HotTables:
    """See Source: everything is in the shard's own tables."""

    def __init__(self, database: str) -> None:
        self.database = database

    def in_table(self, table: str, time_range: TimeRange) -> bool:  # noqa: ARG002  # whatever the range
        """See Source."""
        return True

    def elsewhere(self, table: str) -> bool:  # noqa: ARG002  # whatever the table
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
        used: str = "",  # noqa: ARG002
    ) -> str:
        """See Source."""
        return f"{self.database}.{table}"

    def each(self, table: str, tenant: str, used: str, *, hours: Collection[int]) -> Sequence[Rows]:  # noqa: ARG002  # the same
        """See Source."""
        return (Rows(self.rows(table, tenant)),)

    def packs(self, tenant: str, time_range: TimeRange) -> tuple[Sequence[ColdFile], str, bool]:  # noqa: ARG002  # the same
        """See Source."""
        return (), "", True

    def payloads(self, tenant: str, time_range: TimeRange, held: Held, words: Sequence[str]) -> str:  # noqa: ARG002  # the same
        """See Source."""
        return self.rows("payloads", tenant)

    def merged(self, table: str, where: object, tenant: str, time_range: TimeRange = ALL_TIME) -> str:  # noqa: ARG002  # the same
        """See Source. Applying the condition before the merge is cheaper, and gives the same rows because it reads only key columns."""
        return f"{self.database}.{table} FINAL\nPREWHERE {where}"

    def rollups_until(self, table: str, tenant: str, time_range: TimeRange) -> int:  # noqa: ARG002  # whatever the range
        """See Source."""
        return 0

    def with_rollups(self, table: str, where: object, tenant: str, time_range: TimeRange) -> str:
        """See Source."""
        return f"(SELECT *, {rollup.none(table)} FROM {self.merged(table, where, tenant, time_range)})"  # noqa: S608  # names of ours and parameters
