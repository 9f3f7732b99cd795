"""The only module that uses chdb: ClickHouse's engine in this process, with one connection per statement.

A connection costs a quarter of a millisecond, and settings, current database and temporary tables belong to it. So each statement gets its
own, and nothing leaks into another one. A connection runs one statement at a time, several connections run concurrently, and every call
here blocks its thread. The engine locks its directory: one process per directory, one directory per process.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.hotnode.errors import from_engine
from tael.runtime.imports import without

# Rows of VALUES may contain expressions, which the guard does not see: they are evaluated only for an INSERT whose rows were checked.
EXPRESSIONS_IN_VALUES: Final = ("input_format_values_interpret_expressions", "input_format_values_deduce_templates_of_expressions")
_ALWAYS: Final = "&".join(["implicit_select=0", *(f"{name}=0" for name in EXPRESSIONS_IN_VALUES)])


@dataclass(frozen=True, slots=True)
class Stats:
    """What a statement read, wrote and returned, as far as the engine reports it."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0


def quoted(text: str) -> str:
    """``text`` as an SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


class Connection:
    """Runs one statement at a time, from any thread. Every method raises StatementFailed with the engine's code."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def query(self, sql: bytes | str, output_format: str = "TabSeparated", params: Mapping[str, str] | None = None) -> tuple[bytes, Stats]:
        """Run a statement to its end; the whole result is in memory."""
        try:
            result = self._raw.query(sql, output_format, params=dict(params or {}))
            return result.bytes(), _stats(result)
        except RuntimeError as error:
            raise from_engine(error) from error

    def close(self) -> None:
        """Close the connection and drop its temporary tables."""
        self._raw.close()


class Engine:
    """The engine over ``directory``. ``open`` fails with StatementFailed 76 when another process holds the directory."""

    def __init__(self, directory: Path, options: Mapping[str, str]) -> None:
        self._directory = directory
        self._options = "&".join([_ALWAYS, *(f"{name}={value}" for name, value in options.items())])
        self._control: Connection | None = None
        self._control_lock = threading.Lock()
        self._chdb: Any = None
        self.version = ""
        self.timezone = ""
        self.table_functions: list[str] = []
        self.engines: list[str] = []

    def open(self) -> None:
        """Load the engine and open the directory."""
        with without("pyarrow"):  # only needed for results as Arrow tables, unused here; it takes 11 MiB, 59 with its libraries' pages
            self._chdb = importlib.import_module("chdb._chdb")
        # The process has its own signal handlers, which let statements finish.
        self._chdb.set_signal_handlers_enabled(0)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._control = self.connect(self._options)
        answer, _ = self._control.query("SELECT version(), timezone()")
        self.version, self.timezone = answer.decode().rstrip("\n").split("\t")
        self.table_functions = self._names("SELECT name FROM system.table_functions")
        self.engines = self._names("SELECT name FROM system.table_engines UNION ALL SELECT name FROM system.database_engines")

    def _names(self, sql: str) -> list[str]:
        assert self._control is not None
        return self._control.query(sql)[0].decode().split()

    def connect(self, options: str = _ALWAYS) -> Connection:
        """A new connection with the default database and settings."""
        try:
            return Connection(self._chdb.connect(f"{self._directory}?{options}"))
        except RuntimeError as error:
            raise from_engine(error) from error

    def kill(self, query_id: str) -> None:
        """Ask the engine to stop the statement with this id; it may take a while to notice."""
        with self._control_lock:
            if self._control is not None:
                # The engine generates its own ids; the client's is in a setting (call.py).
                self._control.query(f"KILL QUERY WHERE Settings['log_comment'] = {quoted(query_id)} ASYNC")

    def close(self) -> None:
        """Close the directory; all connections must be closed before."""
        with self._control_lock:
            control, self._control = self._control, None
            if control is not None:
                control.close()


def _stats(result: Any) -> Stats:
    return Stats(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
        result_bytes=result.bytes_read(),
    )
