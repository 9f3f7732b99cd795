"""Modules that processes do not load. Each case runs in a separate process, because modules stay loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tael.runtime.imports import without


@pytest.mark.parametrize("target", ["coordinator", "compactor", "ingest", "query"])
def test_no_service_loads_what_only_terminals_want(target: str) -> None:
    assert loaded(f"import services.wiring, services.{target}.app", ["rich", "pygments"]) == ["-"]


def test_the_hot_nodes_engine_comes_without_the_tables_of_arrow(tmp_path: Path) -> None:
    opened = f"from services.hotnode.engine import Engine; from pathlib import Path; e = Engine(Path({str(tmp_path)!r}), {{}}); e.open(); e.close()"
    assert loaded(opened, ["pyarrow", "pandas"]) == ["-"]


def test_hidden_modules_are_restored_afterwards() -> None:
    with without("wave"), pytest.raises(ImportError):
        import wave
    import wave

    with without("wave"):
        import wave as again
    assert again is wave


def loaded(statements: str, names: list[str]) -> list[str]:
    code = f"{statements}\nimport sys\nprint('-', *(name for name in {names} if sys.modules.get(name)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()
