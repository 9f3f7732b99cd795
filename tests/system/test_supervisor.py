"""The supervisor over real processes: nats-server, SeaweedFS, and small programs that misbehave on purpose."""

from __future__ import annotations

import asyncio
import io
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import grpc
import psutil
import pytest

from services.serve import app
from services.serve.credentials import ensure_certificate, load_credentials
from services.serve.lines import Lines
from services.serve.nats import nats_nodes
from services.serve.plan import Drain, Plan, Process, certificate_files, plan
from services.serve.ports import internal_ports
from services.serve.process import Supervised
from services.serve.settings import ServeSettings
from tael.errors import BadSettings
from tael.runtime.config import load
from tael.runtime.service import Stop
from tests.support.ports import free_port
from tests.support.suite import PATIENCE_SECONDS

pytestmark = pytest.mark.system


async def until(check: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110  # what is polled is other processes' output
            await asyncio.sleep(0.02)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def program(name: str, code: str, **changes: object) -> Process:
    """A process of ours that runs this Python text; it has no readiness."""
    values: dict[str, object] = {
        "name": name,
        "argv": (sys.executable, "-c", code),
        "env": {},
        "ready_url": "http://127.0.0.1:9/",
        "drain": Drain.INTAKE,
    }
    return Process(**{**values, **changes})  # type: ignore[arg-type]  # keyword by keyword


def children_with(*words: str) -> list[psutil.Process]:
    """The children of this process whose command line has one of the words; other tests' servers are children too."""
    return [child for child in psutil.Process().children() if any(word in " ".join(child.cmdline()) for word in words)]


def listening(directory: Path) -> list[str]:
    """The addresses on which the processes of this directory listen."""
    return [c.laddr.ip for child in children_with(str(directory)) for c in child.net_connections() if c.status == "LISTEN"]


def _of_services(ports: dict[str, int]) -> int:
    return sum(not name.startswith(("nats", "s3")) for name in ports)


def refuse_nothing(problems: list[str]) -> None:
    raise AssertionError(problems)


async def nobody_gets_in(http: aiohttp.ClientSession, ports: dict[str, int]) -> None:
    """NATS wants its password, and SeaweedFS' own ports speak to nobody who has not its certificate."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ports["nats"])
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
    assert b"Authorization Violation" in await reader.readline()
    writer.close()
    for path in ("/", "/varz", "/connz", "/jsz", "/healthz", "/debug/vars"):
        async with http.get(f"http://127.0.0.1:{ports['nats-monitor']}{path}") as answer:
            assert answer.status == 404
    for part, path in (("filer", "/"), ("filer", "/buckets/"), ("master", "/dir/assign"), ("master", "/col/delete?collection=tael")):
        async with http.get(f"http://127.0.0.1:{ports[f's3-{part}']}{path}") as answer:
            assert answer.status == 400, await answer.text()
    for part in ("filer", "master", "volume"):
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"https://127.0.0.1:{ports[f's3-{part}']}/", ssl=False)
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{ports[f's3-{part}-grpc']}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.channel_ready(), 1)
        await channel.close()


async def test_nats_and_seaweedfs_come_up_ready_and_drain(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """The planned configuration is accepted, durable, on loopback only, and both leave on SIGTERM."""
    settings = load(ServeSettings, {"TAEL_DATA_DIR": str(tmp_path)})
    ports = internal_ports(settings, tmp_path / "ports.json")
    beside, credentials = Path(sys.executable), load_credentials(tmp_path / "credentials.json")
    whole = plan(
        settings,
        ports,
        {},
        credentials,
        python=sys.executable,
        nats_server=str(beside.with_name("nats-server")),
        weed=str(beside.with_name("weed")),
    )
    ensure_certificate(*certificate_files(settings))
    stores = Plan(tuple(p for p in whole.processes if not p.ours), whole.files)
    app._write(stores)
    out = io.StringIO()
    both = [Supervised(p, Lines(out, ["serve", "nats", "s3"], colour=False), http, refuse_nothing) for p in stores.processes]
    async with asyncio.TaskGroup() as group:
        for one in both:
            group.create_task(one.run())
        await asyncio.wait_for(asyncio.gather(*(one.ready.wait() for one in both)), 90)
        (node,) = nats_nodes(settings, ports, credentials.nats)
        async with http.get(f"{node.monitor_url}/varz") as answer:
            varz = await answer.json()
        assert varz["jetstream"]["config"]["sync_always"] is True
        assert varz["max_payload"] == 8 << 20
        await until(lambda: len(listening(tmp_path)) == len(ports) - _of_services(ports) + 1)
        assert set(listening(tmp_path)) == {"127.0.0.1"}
        await nobody_gets_in(http, ports)
        assert all(await asyncio.gather(*(one.drain(15, asyncio.Event()) for one in both)))
    assert "nats is ready after" in " ".join(out.getvalue().split())
    assert "31009" not in out.getvalue()


async def test_a_killed_process_is_started_again(http: aiohttp.ClientSession) -> None:
    """A kill -9 is noticed, said, and followed by a new process."""
    out = io.StringIO()
    one = Supervised(
        program("sleeper", "import time; print('up', flush=True); time.sleep(60)"),
        Lines(out, ["serve", "sleeper"], colour=False),
        http,
        refuse_nothing,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(one.run())
        await until(lambda: "sleeper | up" in out.getvalue())
        children_with("time.sleep(60)")[0].kill()
        await until(lambda: out.getvalue().count("sleeper | up") == 2)
        assert await one.drain(5, asyncio.Event())
    assert "sleeper was killed by SIGKILL; restarting it in" in out.getvalue()


_SICK = """
import http.server, signal, sys
class Answer(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Answer.asked += 1
        body = b'{"status":"unavailable","error":"disk write error"}'
        self.send_response(200 if Answer.asked == 1 else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@pytest.mark.parametrize("manner", ["polite", "stubborn"])
async def test_a_process_that_reports_an_error_for_long_is_restarted(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, manner: str
) -> None:
    """It was healthy once and never is again by itself; readiness and the log say why meanwhile, and one that ignores SIGTERM is killed."""
    for name, seconds in (("_CHECK_EVERY_SECONDS", 0.05), ("_END_SECONDS", 0.5)):
        monkeypatch.setattr(f"services.serve.process.{name}", seconds)
    monkeypatch.setattr("services.serve.health.UNHEALTHY_SECONDS", 0.3)
    out, port = io.StringIO(), free_port()
    sick = program("sick", "", argv=(sys.executable, "-c", _SICK, str(port), manner), ready_url=f"http://127.0.0.1:{port}/")
    one = Supervised(sick, Lines(out, ["serve", "sick"], colour=False), http, refuse_nothing)
    async with asyncio.TaskGroup() as group:
        group.create_task(one.run())
        await until(lambda: "sick is not ready: disk write error" in out.getvalue())
        assert one.problem == "disk write error"
        assert not one.ready.is_set()
        await until(lambda: out.getvalue().count("sick  | up") == 2)
        await one.drain(1, asyncio.Event())
    assert "sick was stopped because it was unhealthy (disk write error); restarting it in" in out.getvalue()


async def test_a_crash_loop_is_reported_with_the_last_lines(http: aiohttp.ClientSession) -> None:
    """The third end in a row repeats what the process said last."""
    out = io.StringIO()
    one = Supervised(
        program("broken", "print('no disk'); raise SystemExit(3)"), Lines(out, ["serve", "broken"], colour=False), http, refuse_nothing
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(one.run())
        await until(lambda: "broken keeps exiting (3 times in a row); the others keep running" in out.getvalue())
        await one.drain(5, asyncio.Event())
    assert "serve  |   broken: no disk" in out.getvalue()


@pytest.mark.parametrize("hastened", [False, True])
async def test_a_process_that_ignores_sigterm_is_killed(http: aiohttp.ClientSession, hastened: bool) -> None:
    """After the grace period, or at once when the drain is cut short; and the drain does not count as clean."""
    out, hasten = io.StringIO(), asyncio.Event()
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    one = Supervised(program("stubborn", stubborn), Lines(out, ["serve", "stubborn"], colour=False), http, refuse_nothing)
    async with asyncio.TaskGroup() as group:
        group.create_task(one.run())
        await until(lambda: "| up" in out.getvalue())
        if hastened:
            hasten.set()
        assert not await asyncio.wait_for(one.drain(60 if hastened else 0.2, hasten), 10)
    assert "stubborn | was killed" in out.getvalue()


async def test_a_process_with_bad_settings_stops_the_suite(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """A service that exits with 2 at its first start names a setting: its lines become the supervisor's."""
    settings = load(ServeSettings, {"TAEL_DATA_DIR": str(tmp_path)})
    refusing = program("ingest", "import sys; print('tael: TAEL_X=1 cannot be used'); sys.exit(2)")
    other = program("query", "import time; time.sleep(60)", drain=Drain.READERS)
    lines = Lines(io.StringIO(), ["serve", "ingest", "query"], colour=False)
    supervisor = app.Supervisor(settings, Plan((refusing, other)), lines, http, Stop())
    with pytest.raises(BadSettings) as refused:
        await asyncio.wait_for(supervisor.run(lambda: None), 60)
    assert refused.value.problems == ["TAEL_X=1 cannot be used"]


async def test_processes_are_drained_in_order(tmp_path: Path, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Intake leaves before what it writes to, the WAL last."""
    monkeypatch.setattr(app, "_STEP_SECONDS", 0.1)  # none of them answers a health check
    settings = load(ServeSettings, {"TAEL_DATA_DIR": str(tmp_path)})
    # The handler writes past print, which must not be entered twice: the signal may come while the first line is being printed.
    left_and_gone = "lambda *_: (os.write(1, b'left\\n'), os._exit(0))"
    polite = f"import os, signal; signal.signal(signal.SIGTERM, {left_and_gone}); print('up', flush=True)\nwhile True: signal.pause()"
    out, stop = io.StringIO(), Stop()
    processes = tuple(
        program(name, polite, drain=drain) for name, drain in (("nats", Drain.WAL), ("query", Drain.READERS), ("ingest", Drain.INTAKE))
    )
    supervisor = app.Supervisor(settings, Plan(processes), Lines(out, ["serve", *(p.name for p in processes)], colour=False), http, stop)
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.run(lambda: None))
        await until(lambda: out.getvalue().count("| up") == 3)
        stop.set()
    left = [line.split()[0] for line in out.getvalue().splitlines() if line.endswith("| left")]
    assert left == ["ingest", "query", "nats"]


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """A kill -9 of the parent takes the children with it."""
    code = (
        "import asyncio, sys, aiohttp\n"
        "from services.serve.lines import Lines\n"
        "from services.serve.process import Supervised\n"
        "from tests.system.test_supervisor import program\n"
        "async def main():\n"
        "    async with aiohttp.ClientSession() as http:\n"
        "        await Supervised(program('one', 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'),\n"
        "                         Lines(sys.stdout, ['serve', 'one'], colour=False), http, print).run()\n"
        "import uvloop; uvloop.run(main())\n"
    )
    parent = psutil.Popen([sys.executable, "-c", code], stdout=-1, text=True)
    with parent.stdout:
        child = psutil.Process(int(parent.stdout.readline().split("|")[1]))
        parent.send_signal(signal.SIGKILL)
        parent.wait(30)
    child.wait(30)
    assert not psutil.pid_exists(child.pid)
