"""Series in remote write 1.0, including native histograms, and whole scripts sent to a suite at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import cramjam
import numpy as np

from tael.model.histogram import Buckets, Histograms
from tael.model.series import METRIC_NAME, Labels
from tael.model.tenant import TENANT_HEADER
from tael.pb.remote_write_pb2 import Histogram, RequestV1, SeriesV1, Span
from tael.vectors.values import Steps
from tests.support.promqltest import Got
from tests.support.promqltest_http import read
from tests.support.promqltest_script import Clear, Eval, Load, ScriptError, parse
from tests.support.series import Sample

_MARKER = "script_marker"


def request_of(series: Iterable[tuple[Labels, Sequence[tuple[int, Sample]]]]) -> bytes:
    """The compressed body of a request."""
    request = RequestV1()
    for labels, samples in series:
        request.timeseries.append(_series(labels, samples).SerializeToString())
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def _series(labels: Labels, samples: Sequence[tuple[int, Sample]]) -> SeriesV1:
    written = SeriesV1()
    for name, value in labels:
        written.labels.add(name=name, value=value)
    for time_ms, sample in samples:
        if isinstance(sample, Histograms):
            written.histograms.append(_histogram(sample, time_ms))
        else:
            written.samples.add(value=sample, timestamp=time_ms)
    return written


def _histogram(one: Histograms, time_ms: int) -> Histogram:
    bounds = int(one.bounds[0])
    return Histogram(
        count_float=float(one.count[0]),
        sum=float(one.sum[0]),
        schema=int(one.schema[0]),
        zero_threshold=float(one.zero_threshold[0]),
        zero_count_float=float(one.zero_count[0]),
        negative_spans=_spans(one.negative),
        negative_counts=one.negative.counts.tolist(),
        positive_spans=_spans(one.positive),
        positive_counts=one.positive.counts.tolist(),
        reset_hint=int(one.reset_hint[0]),
        timestamp=time_ms,
        custom_values=() if bounds < 0 else one.layouts[bounds],
    )


def _spans(buckets: Buckets) -> list[Span]:
    spans: list[Span] = []
    following = 0
    for index in buckets.index.astype(np.int64).tolist():
        if spans and index == following:
            spans[-1].length += 1
        else:
            spans.append(Span(offset=index - following, length=1))
        following = index + 1
    return spans


@dataclass
class Suited:
    """A target over a whole suite: all scripts are sent first, each stretch to its own tenant, and queried afterwards."""

    session: aiohttp.ClientSession
    write_url: str
    query_url: str
    _script: str = ""
    _stretch: int = 0

    async def send(self, paths: Sequence[Path]) -> None:
        """Write the loads of these scripts, and wait until they are readable. Raises ScriptError for a script that loads after a query."""
        for path in paths:
            for tenant, loads in stretches(path):
                series = [series for load in loads for series in load.series if series[1]]
                await self._write(tenant, series)
        await self._write("marker", [(((METRIC_NAME, _MARKER),), [(0, 1.0)])])
        deadline = time.monotonic() + 30
        while not (await self._ask("marker", {"query": _MARKER, "time": "0"})).series:
            assert time.monotonic() < deadline, "what was written cannot be read"

    def about(self, path: Path) -> None:
        """Query the data of this script from now on."""
        self._script, self._stretch = path.stem, 0

    async def clear(self) -> None:
        """See Target."""
        self._stretch += 1

    async def load(self, series: Sequence[tuple[Labels, Sequence[tuple[int, Sample]]]]) -> None:
        """Does nothing, as the series have been sent already."""
        del series

    async def query(self, query: str, steps: Steps) -> Got:
        """See Target."""
        form = {"query": query}
        if steps.step_ms:
            form |= {"start": f"{steps.start_ms / 1000}", "end": f"{steps.end_ms / 1000}", "step": f"{steps.step_ms / 1000}"}
        else:
            form |= {"time": f"{steps.start_ms / 1000}"}
        return await self._ask(f"{self._script}-{self._stretch}", form)

    async def _ask(self, tenant: str, form: dict[str, str]) -> Got:
        path = "/prometheus/api/v1/query" + ("_range" if "step" in form else "")
        async with self.session.post(self.query_url + path, data=form, headers={TENANT_HEADER: tenant}) as response:
            return read(await response.json())

    async def _write(self, tenant: str, series: Sequence[tuple[Labels, Sequence[tuple[int, Sample]]]]) -> None:
        headers = {TENANT_HEADER: tenant, "Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        async with self.session.post(self.write_url, data=request_of(series), headers=headers) as response:
            assert response.status == 204, await response.text()


def stretches(path: Path) -> Iterable[tuple[str, list[Load]]]:
    """The loads of a script between two ``clear`` commands, with the tenant for each stretch."""
    stretch, asked = 1, False
    loads: list[Load] = []
    for command in parse(path.read_text()):
        match command:
            case Clear():
                yield f"{path.stem}-{stretch}", loads
                stretch, loads, asked = stretch + 1, [], False
            case Load() if asked:
                raise ScriptError(f"{path.name} loads behind a question")
            case Load():
                loads.append(command)
            case Eval():
                asked = True
    yield f"{path.stem}-{stretch}", loads
