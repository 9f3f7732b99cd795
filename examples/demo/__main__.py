"""Sends the stories at a rate, then waits until everything that was acknowledged can be read, and prints where to look.

python -m examples.demo [--rate 5] [--duration 30] [--otlp http://127.0.0.1:4317] [--server http://127.0.0.1:7701]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

from examples.demo import agent, shop
from examples.demo.stage import Acknowledged, Story, Telemetry

_READABLE_SECONDS = 30.0
_STORIES: dict[Callable[[Story], None], int] = {shop.browse: 5, shop.buy: 3, agent.ask: 2}


def main() -> int:
    """Run the demo; 0 when everything that was acknowledged can be read."""
    options = _options()
    for what, url in (("OTLP receiver", options.otlp), ("query API", options.server)):
        if not _answers(url):
            print(f"demo: no {what} answers at {url}; start the suite with `make up` in another terminal", file=sys.stderr)
            return 1
    telemetry = Telemetry(options.otlp)
    with contextlib.suppress(KeyboardInterrupt):
        _send(telemetry, options.rate, options.duration)
    _progress("waiting for the last acknowledgements", final=True)
    telemetry.flush()
    try:
        whole = _wait_until_readable(options.server, telemetry.exporter.spans_by_trace)
    except KeyboardInterrupt:
        return 130
    telemetry.close()
    return _conclude(options.server, telemetry.exporter, whole)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--rate", type=float, default=5, help="traces a second")
    parser.add_argument("--duration", type=float, default=30, help="seconds; 0 runs until Ctrl-C")
    parser.add_argument("--otlp", default=f"http://{os.environ.get('TAEL_OTLP_GRPC_ADDR') or '127.0.0.1:4317'}", help="OTLP over gRPC")
    parser.add_argument("--server", default=f"http://{os.environ.get('TAEL_REST_API_ADDR') or '127.0.0.1:7701'}", help="the query API")
    options = parser.parse_args()
    if options.rate <= 0:
        parser.error("--rate must be above 0")
    return options


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout=2):
            return True
    except OSError:
        return False


def _send(telemetry: Telemetry, rate: float, duration: float) -> None:
    stories, weights = list(_STORIES), list(_STORIES.values())
    chance, began, sent = random.Random(), time.monotonic(), 0
    while duration == 0 or time.monotonic() - began < duration:
        chance.choices(stories, weights)[0](Story(telemetry, chance))
        sent += 1
        if sent % max(1, round(rate)) == 0:
            acknowledged = telemetry.exporter.spans
            _progress(f"{time.monotonic() - began:.0f} s: {sent} stories sent, {acknowledged} spans acknowledged", final=False)
        time.sleep(max(0.0, began + sent / rate - time.monotonic()))


def _progress(text: str, *, final: bool) -> None:
    if sys.stdout.isatty():
        print(f"\r\x1b[2K{text}", end="\n" if final else "", flush=True)
    elif final:
        print(text, flush=True)


def _wait_until_readable(server: str, sent: dict[int, int]) -> int:
    """Wait until all of these traces can be read completely, or the time is up; returns how many can."""
    missing = dict(sent)
    total, deadline = len(missing), time.monotonic() + _READABLE_SECONDS
    while missing and time.monotonic() < deadline:
        missing = {trace: spans for trace, spans in missing.items() if _span_count(server, trace) != spans}
        if missing:
            time.sleep(0.3)
    return total - len(missing)


def _span_count(server: str, trace: int) -> int:
    try:
        with urllib.request.urlopen(f"{server}/api/v1/traces/{trace:032x}", timeout=10) as answer:  # noqa: S310  # the URL that the user gave
            return int(json.load(answer)["span_count"])
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return -1


def _conclude(server: str, exporter: Acknowledged, whole: int) -> int:
    sent = exporter.spans_by_trace
    checked = "them" if exporter.traces == len(sent) else f"the last {len(sent)}"
    print(f"{exporter.spans} spans of {exporter.traces} traces acknowledged; {whole} of {checked} read back completely")
    if exporter.lost:
        print(f"{exporter.lost} spans were dropped by the SDK, because the receiver did not acknowledge them")
    if not sent:
        return 1
    largest = f"{max(sent, key=lambda trace: sent[trace]):032x}"
    tael = "tael" if shutil.which("tael") else ".venv/bin/tael"
    flags = "" if server == "http://127.0.0.1:7701" else f" --server {server}"
    print(
        f"""
what to look at:  {tael} --format table{flags} services
  {tael} --format table{flags} get trace {largest}
  {tael} --format table{flags} query logs --min-severity warn --last 15m
  curl -s '{server}/api/v1/traces/{largest}'
  curl -s '{server}/api/v1/traces?status=error&last=15m&limit=10'
  curl -s '{server}/api/v1/traces?attribute=gen_ai.operation.name=chat&last=15m'
  curl -sg '{server}/prometheus/api/v1/query?query=sum+by+(job)(rate(http_server_request_duration_seconds_count[1m]))'
  Grafana: a Tempo data source with the URL {server}/tempo, then trace id {largest}"""
    )
    return 0 if whole == len(sent) and not exporter.lost else 1


if __name__ == "__main__":
    sys.exit(main())
