"""A real Prometheus (Debian's package), fed by remote write, to compare PromQL's answers and speed with."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import cramjam
import numpy as np

from tael.model.series import Floats, Labels, Longs
from tael.pb.remote_write_pb2 import RequestV1, SeriesV1
from tests.support.ports import free_port
from tests.support.suite import until

_SERIES_A_REQUEST = 500


def installed() -> bool:
    """Whether Prometheus is installed on this machine."""
    return shutil.which("prometheus") is not None


class Prometheus:
    """``prometheus`` in its own directory, as a context manager; it scrapes nothing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "prometheus.yml"
        config.write_text("{}\n")
        command = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--web.enable-remote-write-receiver",
            "--enable-feature=promql-at-modifier,promql-negative-offset",
        ]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._ready, "Prometheus")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:  # noqa: S310  # a loopback http URL
                return bool(answer.status == 200)
        except OSError:
            return False

    def write(self, series: Iterable[tuple[Labels, Iterable[tuple[int, float]]]]) -> None:
        """Send ``(time in ms, value)`` pairs of series by remote write; each series' times must ascend, also across calls."""
        request = RequestV1()
        for labels, samples in series:
            message = SeriesV1()
            for name, value in labels:
                message.labels.add(name=name, value=value)
            for time_ms, number in samples:
                message.samples.add(value=number, timestamp=time_ms)
            request.timeseries.append(message.SerializeToString())
            if len(request.timeseries) == _SERIES_A_REQUEST:
                self._send(request)
                request.Clear()
        self._send(request)

    def write_arrays(self, labels: Sequence[Labels], times_ms: Longs, values: Floats) -> None:
        """Send many samples by remote write: each row of the arrays is a series. All times must be after 2001."""
        samples = np.zeros(times_ms.shape, [("tag", "S3"), ("value", "<f8"), ("time_tag", "u1"), ("time", "u1", 6)])
        samples["tag"], samples["value"], samples["time_tag"] = b"\x12\x10\x09", values, 0x10
        for byte in range(6):
            samples["time"][..., byte] = (times_ms >> 7 * byte) & 0x7F | (0x80 if byte < 5 else 0)
        for first in range(0, len(labels), _SERIES_A_REQUEST):
            request = RequestV1()
            for row in range(first, min(first + _SERIES_A_REQUEST, len(labels))):
                message = SeriesV1()
                for name, value in labels[row]:
                    message.labels.add(name=name, value=value)
                request.timeseries.append(message.SerializeToString() + samples[row].tobytes())
            self._send(request)

    def _send(self, request: RequestV1) -> None:
        body = bytes(cramjam.snappy.compress_raw(request.SerializeToString()))
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}
        asked = urllib.request.Request(f"{self.url}/api/v1/write", data=body, headers=headers, method="POST")  # noqa: S310  # a loopback http URL
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310  # the same
            assert answer.status == 204, answer.status

    def ask(self, path: str, **parameters: object) -> tuple[dict[str, Any], float]:
        """A JSON answer of the HTTP API, errors included, and the seconds that it took."""
        return ask(self.url, path, **parameters)


def ask(url: str, path: str, **parameters: object) -> tuple[dict[str, Any], float]:
    """A JSON answer of Prometheus' HTTP API at ``url``, errors included, and the seconds until it was complete."""
    asked = urllib.request.Request(f"{url}/api/v1/{path}", data=urlencode(parameters).encode())  # noqa: S310  # a loopback http URL
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:  # noqa: S310  # the same
            body = answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    took = time.perf_counter() - began
    found: dict[str, Any] = json.loads(body)
    return found, took
