"""Takes the README's pictures: `python -m docs.pictures`, with the ports of `make up` free, writes docs/img from a suite with the demo's
data.

The terminal's output is rendered as SVG.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.text import Text

IMAGES = Path(__file__).parent / "img"
_PAGE = "http://127.0.0.1:7701"
_COLUMNS = 110


def main() -> None:
    """Start a suite, send it the demo's data, and take every picture."""
    home = Path(tempfile.mkdtemp(prefix="tael-pictures-"))
    shown, terminal = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TAEL_", "OTEL_"))}
    environment = {**clean, "HOME": str(home), "COLUMNS": str(_COLUMNS), "LINES": "60", "TERM": "xterm-256color"}
    suite = subprocess.Popen([sys.executable, "-m", "services", "serve"], env=environment, stdout=terminal, stderr=terminal, stdin=terminal)
    try:
        banner = _read_until(shown, "compactor is ready")
        _draw("up", "make up", _tidy(banner, home))
        subprocess.run([sys.executable, "-m", "examples.demo", "--rate", "10", "--duration", "30"], env=environment, check=True)
        time.sleep(3)
        _draw("trace", f"tael get trace {_agents_trace()}", _tael(environment, "get", "trace", _agents_trace()))
        _draw("services", "tael services", _tael(environment, "services"))
    finally:
        suite.send_signal(signal.SIGTERM)
        _read_until(shown, "drained", 60)
        suite.wait(60)
        shutil.rmtree(home)


def _read_until(terminal: int, words: str, seconds: float = 120) -> str:
    text, deadline = "", time.monotonic() + seconds
    while words not in text.rpartition("\n")[0]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {words!r} in {text[-2000:]}")
        if select.select([terminal], [], [], 1)[0]:
            text += os.read(terminal, 1 << 16).decode(errors="replace")
    return text


def _tidy(text: str, home: Path) -> str:
    """The text without the processes' log lines, and with ``~`` for the home directory, padded so that the box stays aligned."""
    lines = [line for line in text.replace("\r", "").splitlines() if not re.search(r"\d{4}.\d\d.\d\d[T ]\d\d:|compactor is", line)]
    return "\n".join(lines).replace(f"{home}/.tael/data", "~/.tael/data".ljust(len(f"{home}/.tael/data")))


def _agents_trace() -> str:
    """The newest trace of the demo's agent."""
    with urllib.request.urlopen(f"{_PAGE}/api/v1/traces?service=assistant&last=5m&limit=1", timeout=10) as answer:  # noqa: S310  # a loopback http URL
        return str(json.load(answer)["spans"][0]["trace_id"])


def _tael(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "tael.cli", "--format", "table", *arguments]
    return subprocess.run(command, env={**environment, "FORCE_COLOR": "1"}, stdout=subprocess.PIPE, text=True, check=True).stdout


def _draw(name: str, title: str, text: str) -> None:
    console = Console(record=True, width=_COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123  # for this process' life
    console.print(Text.from_ansi(text.strip("\n")))
    console.save_svg(str(IMAGES / f"{name}.svg"), title=title)


if __name__ == "__main__":
    main()
