"""The cost of the idle suite: CPU and memory of each process.

    python -m bench.idle [--seconds 120] [--settle 60]

Starts the suite by `tael serve` in its own directory with default settings, waits until it has settled, and measures every process at the
start and the end of the period. RSS counts pages shared between processes (the interpreter, libraries) in each, PSS once in all; USS is
what would be freed if the process ended.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.support.suite import Suite

_MIB = 1 << 20


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--settle", type=float, default=60)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="tael-idle-"))
    try:
        with Suite(directory, env={"TAEL_LEASE_TTL_SECS": ""}) as suite:
            time.sleep(options.settle)
            processes = {"supervisor": psutil.Process(suite.pid), **suite.children()}
            before = _seconds(processes)
            time.sleep(options.seconds)
            _show(processes, before, options.seconds)
    finally:
        shutil.rmtree(directory)


def _seconds(processes: dict[str, psutil.Process]) -> dict[str, float]:
    return {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}


def _show(processes: dict[str, psutil.Process], before: dict[str, float], seconds: float) -> None:
    table = Table("", *(f"{name}" for name in ("CPU s", "core", "RSS MiB", "PSS MiB", "USS MiB")))
    after, total = _seconds(processes), [0.0] * 4
    for name, process in processes.items():
        memory = process.memory_full_info()
        row = (after[name] - before[name], memory.rss / _MIB, memory.pss / _MIB, memory.uss / _MIB)
        total = [a + b for a, b in zip(total, row, strict=True)]
        table.add_row(name, *_cells(row, seconds))
    table.add_section()
    table.add_row("all", *_cells(tuple(total), seconds))
    Console().print(table)


def _cells(row: tuple[float, ...], seconds: float) -> tuple[str, ...]:
    cpu, *memory = row
    return f"{cpu:.2f}", f"{cpu / seconds:.3f}", *(f"{mib:.0f}" for mib in memory)


if __name__ == "__main__":
    main()
