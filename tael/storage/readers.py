"""The readers of all shards from which the query service answers."""

from __future__ import annotations

from dataclasses import dataclass

from tael.storage.api import LogReader, SeriesReader, SpanReader
from tael.storage.holdings import HoldingReader
from tael.storage.llm import LlmReader
from tael.storage.long_traces import LongTraceReader
from tael.storage.payloads import PayloadReader
from tael.storage.spansets import SpansetReader
from tael.storage.topology import TopologyReader


@dataclass(frozen=True, slots=True)
class Readers:
    """One reader for each port."""

    spans: SpanReader
    long_traces: LongTraceReader
    logs: LogReader
    series: SeriesReader
    spansets: SpansetReader
    topology: TopologyReader
    holdings: HoldingReader
    payloads: PayloadReader
    llm: LlmReader
