"""ColdEraseStore of one shard: counts the rows to delete by file, and writes the remaining rows of an hour's files to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tael.cold.files import ColdFile
from tael.model.time import NS_PER_SECOND
from tael.storage.clickhouse.client import Limits
from tael.storage.clickhouse.conditions import instant
from tael.storage.clickhouse.erase import LATER, LOOSE, OF_TRACES, before_request, condition, names_owner, parameters_of, parameters_of_all
from tael.storage.clickhouse.mutations import Mutations
from tael.storage.clickhouse.references import LOOSE_ITEM
from tael.storage.clickhouse.rolling import ColdFiles, checksum
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.tiers import cold_rows
from tael.storage.erase import Erasure, Selected, Selection, StreamHour
from tael.storage.rolling import Pace

_FILES: Final = 256
"""The number of files that one statement opens: it keeps something of each in memory."""
_LIMITS: Final = Limits(seconds=600, memory_bytes=1 << 30, threads=1)


class ClickHouseColdErase(ColdFiles, Mutations):
    """See ColdEraseStore."""

    async def next_traces(self, what: Erasure, files: Sequence[ColdFile], limit: int) -> Sequence[bytes]:
        """See ColdEraseStore."""
        where = f"{before_request('spans')} AND {names_owner(what)}"
        for batch in _batches(files):
            found = await self._ask(
                batch, "trace_id", f"WHERE {where} GROUP BY trace_id ORDER BY min(start_time) LIMIT {int(limit)}", parameters_of(what)
            )
            if found:
                return [bytes(trace_id) for (trace_id,) in found]
        return ()

    async def hours_of(self, what: Erasure, traces: Sequence[bytes]) -> frozenset[int]:
        """See ColdEraseStore."""
        sql = f"SELECT DISTINCT toUnixTimestamp(hour) FROM {self._clickhouse.database}.trace_index WHERE tenant = {{tenant:String}} AND {OF_TRACES}"  # noqa: S608  # names of ours and parameters
        return frozenset(int(hour) * NS_PER_SECOND for (hour,) in await self._clickhouse.query(sql, parameters_of(what, traces), _LIMITS))

    async def later_traces(self, what: Erasure, traces: Sequence[bytes], files: Sequence[ColdFile]) -> frozenset[bytes]:
        """See ColdEraseStore."""
        return await self._traces_in(files, LATER, parameters_of(what, traces))

    async def all_later_traces(self, what: Erasure, files: Sequence[ColdFile]) -> frozenset[bytes]:
        """See ColdEraseStore."""
        return await self._traces_in(files, f"received_at > {instant('before')}", parameters_of(what))

    async def _traces_in(self, files: Sequence[ColdFile], where: str, parameters: Mapping[str, Any]) -> frozenset[bytes]:
        found = [await self._ask(batch, "DISTINCT trace_id", f"WHERE {where}", parameters) for batch in _batches(files)]
        return frozenset(bytes(trace_id) for rows in found for (trace_id,) in rows)

    async def later_streams(self, what: Erasure, files: Sequence[ColdFile]) -> frozenset[StreamHour]:
        """See ColdEraseStore."""
        columns, where = "DISTINCT stream, toUnixTimestamp(toStartOfHour(timestamp))", f"WHERE received_at > {instant('before')}"
        found = [await self._ask(batch, columns, where, parameters_of(what)) for batch in _batches(files)]
        return frozenset((int(stream), int(hour) * NS_PER_SECOND) for rows in found for stream, hour in rows)

    async def select(self, selection: Selection, files: Sequence[ColdFile]) -> dict[ColdFile, Selected]:
        """See ColdEraseStore."""
        found: dict[ColdFile, Selected] = {}
        for batch in _batches(files):
            table = batch[0].table
            tail = f"WHERE {condition(table, selection)} GROUP BY _path"
            columns = f"_path, count(), {checksum(table)}"
            rows = await self._ask(batch, columns, tail, parameters_of_all(selection), also=", _path")
            for path, count, total in rows:
                [file] = [file for file in batch if text(path).endswith(file.key)]
                found[file] = Selected(int(count), text(total))
        hours = {hour_ns for file in found if file.table == "logs" for hour_ns in file.each_hour}
        await self._recount(selection.what.tenant, [str(hour_ns // NS_PER_SECOND) for hour_ns in sorted(hours)])
        return found

    async def rewrite(self, selection: Selection, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
        """See ColdEraseStore."""
        where, parameters = condition(files[0].table, selection), parameters_of_all(selection)
        return await self._merge(files, generation, pace, without=where, parameters=parameters)

    async def loose_items(self, what: Erasure, files: Sequence[ColdFile]) -> Sequence[bytes]:
        """See ColdEraseStore."""
        where = f"WHERE {condition('logs', Selection(what))} AND {LOOSE}"
        found = [await self._ask(batch, f"DISTINCT {LOOSE_ITEM}", where, parameters_of(what)) for batch in _batches(files)]
        return sorted({bytes(item) for rows in found for (item,) in rows})

    async def _ask(
        self, files: Sequence[ColdFile], columns: str, tail: str, parameters: Mapping[str, Any], *, also: str = ""
    ) -> Sequence[Sequence[Any]]:
        rows = cold_rows(self._bucket_url, files, await self._columns(files[0].table), also=also)
        return await self._clickhouse.query(f"SELECT {columns} FROM ({rows}) {tail}", parameters, _LIMITS)  # noqa: S608  # the same


def _batches(files: Sequence[ColdFile]) -> Iterator[Sequence[ColdFile]]:
    for start in range(0, len(files), _FILES):
        yield files[start : start + _FILES]
