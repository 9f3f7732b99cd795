"""README.md's snippets, run as they stand there but for ports: what somebody pastes first has to work."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.peers.conftest import NODE, read_trace
from tests.support.suite import Suite, until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FIRST_SPAN = README.partition("## Send your first span")[2].partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", FIRST_SPAN, re.DOTALL)


def commands(title: str) -> str:
    """What stands under a comment of the first block, down to the next empty line."""
    found = re.search(rf"^# {title}.*\n((?:.+\n)+)", blocks("sh")[0], re.MULTILINE)
    assert found is not None
    return found[1]


def exports(suite: Suite) -> dict[str, str]:
    """The environment that the ``export`` lines make."""
    found = dict(re.findall(r"export (OTEL_\w+)=([\w:/.-]+)", README))
    assert set(found) == {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SERVICE_NAME"}
    return {name: value.replace(":4318", f":{suite.http_port}") for name, value in found.items()}


def run(command: str, suite: Suite, directory: Path, path: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TAEL_", "OTEL_"))}
    environment = {**clean, **exports(suite), "PATH": f"{path}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["bash", "-euc", command], env=environment, cwd=directory, capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_by_hand(suite: Suite, tmp_path: Path) -> None:
    assert run(commands("By hand"), suite, tmp_path, tmp_path) == "{}"
    [span] = read_trace(suite, "5b8efff798038103d269b633813fc60c", 1).values()
    assert (span["operation"], span["duration_ms"]) == ("hello", 500)


def test_python(suite: Suite, tmp_path: Path) -> None:
    install, start = commands("Python").splitlines()
    pinned = (ROOT / "requirements-dev.lock").read_text()
    for package in shlex.split(install.partition("&&")[0].partition("install")[2]):
        assert f"\n{package}==" in pinned
    tmp_path.joinpath("app.py").write_text(
        "from opentelemetry import trace\n"
        'with trace.get_tracer("app").start_as_current_span("work") as span:\n'
        '    print(format(span.get_span_context().trace_id, "032x"))\n'
    )
    trace_id = run(start, suite, tmp_path, Path(sys.executable).parent).strip()
    [span] = read_trace(suite, trace_id, 1).values()
    assert (span["service"], span["operation"]) == ("my-service", "work")


def test_node(suite: Suite, packages: Path, tmp_path: Path) -> None:
    _, start = commands("Node").splitlines()
    tmp_path.joinpath("node_modules").symlink_to(packages / "node_modules")
    tmp_path.joinpath("app.js").write_text(f'require("http").get("{suite.url}/api/v1/services?from=node", (answer) => answer.resume());\n')
    run(start, suite, tmp_path, NODE.parent)

    def attempt() -> Any:
        spans = suite.get_when_ready("/api/v1/traces?service=my-service&last=5m")["spans"]
        return [span for span in spans if span["span_kind"] == "client"] or None

    [span] = until(attempt, "the request as a span")
    assert span["operation"] == "GET"


def test_the_collectors_configuration_is_whole() -> None:
    [text] = [block for block in blocks("yaml") if "exporters:" in block]
    found = yaml.safe_load(text)
    assert found["exporters"]["otlp_http/tael"] == {"endpoint": "http://127.0.0.1:4318"}
    assert set(found["service"]["pipelines"]) == {"traces", "metrics", "logs"}
    for pipeline in found["service"]["pipelines"].values():
        assert all(set(pipeline[kind]) <= set(found[kind]) for kind in ("receivers", "processors", "exporters"))
    taken = {protocol["endpoint"].rpartition(":")[2] for protocol in found["receivers"]["otlp"]["protocols"].values()}
    assert not taken & {"4317", "4318"}, "a Collector on this machine would take tael's ports"


def test_go_names_what_it_needs() -> None:
    """Its modules are not fetched here."""
    [text] = blocks("go")
    assert set(re.findall(r"\b([a-z]\w+)\.[A-Z]", text)) == {"log", "otel", "otlptracehttp", "provider", "sdktrace", "span"}
    assert re.findall(r"go get (.*)", text) == [
        "go.opentelemetry.io/otel/sdk go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
    ]


def test_prometheus_writes_to_a_path_that_exists() -> None:
    [text] = [block for block in blocks("yaml") if "remote_write:" in block]
    assert yaml.safe_load(text) == {"remote_write": [{"url": "http://127.0.0.1:4318/api/v1/write"}]}
