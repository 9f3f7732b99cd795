"""Prometheus itself: it scrapes a page and writes what it scraped to tael, which must then answer as it does."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.peers.conftest import lacking, query_metrics
from tests.support.ports import free_port
from tests.support.suite import Suite, until

_PAGE = """\
# HELP shop_requests_total Requests by route.
# TYPE shop_requests_total counter
shop_requests_total{{route="/cart",note="grüße"}} {turn}
shop_requests_total{{route="/pay"}} {half}
# HELP shop_temperature Of the room.
# TYPE shop_temperature gauge
shop_temperature 21.5
shop_nothing NaN
shop_endless +Inf
# TYPE shop_seconds histogram
shop_seconds_bucket{{le="0.1"}} {turn}
shop_seconds_bucket{{le="1"}} {more}
shop_seconds_bucket{{le="+Inf"}} {more}
shop_seconds_sum {half}
shop_seconds_count {more}
# TYPE shop_size summary
shop_size{{quantile="0.9"}} 3
shop_size_sum 7
shop_size_count 4
"""
_CONFIG = """\
global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}
scrape_configs:
  - {{job_name: shop, static_configs: [{{targets: ["127.0.0.1:{target}"], labels: {{zone: eu}}}}]}}
remote_write:
  - url: {url}/api/v1/write
    queue_config: {{batch_send_deadline: 200ms}}
    metadata_config: {{send_interval: 1s}}
"""
_EXPRESSIONS = (
    '{job="shop"}[10s]',
    "rate(shop_requests_total[2s])",
    "sum by (route) (increase(shop_requests_total[2s]))",
    "histogram_quantile(0.9, rate(shop_seconds_bucket[2s]))",
    "shop_size / ignoring (quantile) shop_size_sum",
    "up",
)


class _Page(BaseHTTPRequestHandler):
    turns = 0

    def do_GET(self) -> None:
        type(self).turns += 1
        turn = self.turns
        body = _PAGE.format(turn=turn, half=turn / 2, more=turn + 3).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@dataclass(frozen=True)
class Prometheus:
    """A running one, and the page that it scrapes."""

    url: str
    page: ThreadingHTTPServer

    def query(self, expression: str, at: float) -> Any:
        return query_metrics(self.url, expression, at)


@contextlib.contextmanager
def page() -> Iterator[ThreadingHTTPServer]:
    """The page that is scraped."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def prometheus(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that writes to the suite."""
    program = shutil.which("prometheus")
    if program is None:
        lacking("Prometheus", "apt-get install prometheus")
    directory, port = tmp_path_factory.mktemp("prometheus"), free_port()
    with page() as served:
        config = directory / "prometheus.yml"
        config.write_text(_CONFIG.format(target=served.server_address[1], url=f"http://127.0.0.1:{suite.http_port}"))
        flags = [f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        with _running([program, *flags], directory / "log"):
            url = f"http://127.0.0.1:{port}"
            until(lambda: _answers(f"{url}/-/ready"), "Prometheus")
            yield Prometheus(url, served)


@contextlib.contextmanager
def _running(command: list[str], log_path: Path) -> Iterator[None]:
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310  # a loopback http URL
            return bool(answer.status == 200)
    except OSError:
        return False


def test_scraped_samples_are_read_back(suite: Suite, prometheus: Prometheus) -> None:
    """Labels, times and values of every series, the scrape's own included; then what rates and quantiles are made of them."""
    until(lambda: len(_scrapes_ms(prometheus)) > 12 or None, "a dozen scrapes")
    at = _settled_at(_scrapes_ms(prometheus))
    for expression in _EXPRESSIONS:
        expected = prometheus.query(expression, at)
        assert expected, expression
        until(partial(_agree, suite, expression, at, expected), f"the answer to {expression}, which is {expected}")


def _scrapes_ms(prometheus: Prometheus) -> list[int]:
    found = prometheus.query("shop_temperature[1m]", time.time())
    return [round(float(at) * 1000) for at, _ in found[0]["values"]] if found else []


def _settled_at(scrapes_ms: list[int]) -> float:
    """A time between the last two scrapes, so that no scrape that is still under way can add a sample before it.

    The ranges that are asked for are full there: older versions extrapolate a counter's first samples in another way. No scrape is exactly
    where a range begins: older versions count it.
    """
    *_, before, last = scrapes_ms
    starts = {at_ms + range_ms for at_ms in scrapes_ms for range_ms in (2_000, 10_000)}
    return next(at_ms for at_ms in range((before + last) // 2, last) if at_ms not in starts) / 1000


def _agree(suite: Suite, expression: str, at: float, expected: Any) -> bool:
    return bool(
        json.dumps(query_metrics(f"{suite.url}/prometheus", expression, at), sort_keys=True) == json.dumps(expected, sort_keys=True)
    )


def test_its_metadata_is_there(suite: Suite, prometheus: Prometheus) -> None:
    def metadata() -> Any:
        with urllib.request.urlopen(f"{suite.url}/prometheus/api/v1/metadata?metric=shop_requests_total", timeout=30) as answer:  # noqa: S310  # loopback
            return json.load(answer)["data"].get("shop_requests_total")

    (family,) = until(metadata, "the metadata")
    assert (family["type"], family["help"]) == ("counter", "Requests by route.")


def test_series_of_a_removed_target_end(suite: Suite, prometheus: Prometheus) -> None:
    """By stale markers, which Prometheus writes too: at once, not after five minutes."""
    prometheus.page.shutdown()
    prometheus.page.server_close()
    gone = until(lambda: prometheus.query("shop_temperature", time.time()) == [] and time.time(), "the end of the series")
    until(lambda: query_metrics(f"{suite.url}/prometheus", "shop_temperature", gone + 0.5) == [] or None, "its end in tael")
    # Prometheus sends series by shards of its queue, so that `up` may come later than the end of another series of the same scrape.
    until(lambda: query_metrics(f"{suite.url}/prometheus", "up", time.time())[0]["value"][1] == "0", "the target to be down in tael")
