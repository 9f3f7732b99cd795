"""The ``stats`` of an answer, in the shape of Loki's; pure.

What the hot tier read stands for the chunks that Loki's queriers decompress, as its only store. What tael has no counterpart of (caches,
ingesters, chunks of an index) is zero, as it is of a Loki without them.

Source: Loki's HTTP API documentation and ``stats.proto``. Times of the summary, the querier and the index are seconds, others nanoseconds.
"""

from __future__ import annotations

from typing import Any, Final

from tael.storage.work import Work

_CACHES: Final = (
    *("chunk", "index", "result", "statsResult", "volumeResult"),
    *("seriesResult", "labelResult", "instantMetricResult", "logResult", "taskResult"),
)
_CACHE: Final = dict.fromkeys(
    ("entriesFound", "entriesRequested", "entriesStored", "bytesReceived", "bytesSent", "requests", "downloadTime", "queryLengthServed"), 0
)
_INDEX: Final = {
    "totalChunks": 0,
    "postFilterChunks": 0,
    "shardsDuration": 0,
    "usedBloomFilters": False,
    "totalStreams": 0,
    "chunkRefsLookupTime": 0,
    "bloomFilterTime": 0,
}
_CHUNK: Final = dict.fromkeys(
    (
        *("headChunkBytes", "headChunkLines", "decompressedBytes", "decompressedLines", "compressedBytes", "totalDuplicates"),
        *("postFilterLines", "headChunkStructuredMetadataBytes", "decompressedStructuredMetadataBytes"),
    ),
    0,
)
_DATA_OBJECTS: Final = dict.fromkeys(
    (
        *("prePredicateDecompressedRows", "prePredicateDecompressedBytes", "prePredicateDecompressedStructuredMetadataBytes"),
        *("postPredicateRows", "postPredicateDecompressedBytes", "postPredicateStructuredMetadataBytes", "postFilterRows"),
        *("pagesScanned", "pagesDownloaded", "pagesDownloadedBytes", "pageBatches", "totalRowsAvailable", "totalPageDownloadTime"),
        "wireBytesTransferred",
    ),
    0,
)


def stats(work: Work, *, queued_seconds: float, ran_seconds: float, entries: int, lines: int = 0) -> dict[str, Any]:
    """The statistics of a query that returned ``entries`` (lines or samples). ``lines`` are those that passed its filters, 0 where they
    were counted without being read.
    """
    chunk = _CHUNK | {"decompressedBytes": work.bytes, "decompressedLines": work.rows, "postFilterLines": lines}
    return {
        "summary": {
            "bytesProcessedPerSecond": _per_second(work.bytes, ran_seconds),
            "linesProcessedPerSecond": _per_second(work.rows, ran_seconds),
            "totalBytesProcessed": work.bytes,
            "totalLinesProcessed": work.rows,
            "execTime": ran_seconds,
            "queueTime": queued_seconds,
            "subqueries": 0,
            "totalEntriesReturned": entries,
            "splits": 0,
            "shards": work.asked,
            "totalPostFilterLines": lines,
            "totalStructuredMetadataBytesProcessed": 0,
        },
        "querier": {"store": _store(chunk), "querierExecTime": ran_seconds},
        "ingester": {"totalReached": 0, "totalChunksMatched": 0, "totalBatches": 0, "totalLinesSent": 0, "store": _store(_CHUNK)},
        "cache": dict.fromkeys(_CACHES, _CACHE),
        "index": _INDEX,
    }


def _store(chunk: dict[str, int]) -> dict[str, Any]:
    return {
        "totalChunksRef": 0,
        "totalChunksDownloaded": 0,
        "chunksDownloadTime": 0,
        "queryReferencedStructuredMetadata": False,
        "queryUsedV2Engine": False,
        "chunk": chunk,
        "chunkRefsFetchTime": 0,
        "congestionControlLatency": 0,
        "pipelineWrapperFilteredLines": 0,
        "dataobj": _DATA_OBJECTS,
    }


def _per_second(count: int, seconds: float) -> int:
    return int(count / seconds) if seconds else 0
