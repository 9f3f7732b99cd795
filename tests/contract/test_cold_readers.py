"""The cold tier's files in other people's engines, by the examples of docs/formats.md, taken from the document itself."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tael.objects import MinioObjectStore
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, new_trace_id, of_service, open_tier, wire_span

DOCUMENT = (Path(__file__).parents[2] / "docs/formats.md").read_text().partition("### Reading files with other engines")[2]
STARTED = datetime.fromtimestamp(START_NS / 10**9, UTC)


def example(language: str) -> str:
    """The document's first example in a language."""
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    return found[1]


def here(text: str, folder: Path) -> str:
    """The example over files of a folder, at the day and hour that the test's spans have."""
    text = text.replace("s3://tael/", f"{folder}/").replace("tenant=default", "tenant=t1")
    return re.sub(r"hour=\d\d", f"hour={STARTED:%H}", re.sub(r"date=[\d-]+", f"date={STARTED:%Y-%m-%d}", text))


@pytest.fixture
async def folder(shared_hot_node: HotNode, objects: MinioObjectStore, tmp_path: Path) -> AsyncIterator[Path]:
    """Spans as the compactor rolls them, downloaded under their keys."""
    async with open_tier([shared_hot_node], tiering="cold") as tier:
        trace_id = new_trace_id()
        carts = [wire_span(number, trace_id=trace_id, attributes={"http.route": "/cart"}) for number in range(3)]
        await tier.store(of_service("shop", *carts, wire_span(3, trace_id=trace_id, attributes={"http.route": "/pay"})))
        assert tier.cold is not None
        for key in await objects.list(f"{tier.cold.prefix}spans/"):
            path = tmp_path / key.removeprefix(tier.cold.prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(await objects.get(key))
        yield tmp_path


def asked(sql: str) -> list[dict[str, Any]]:
    """The rows of an answer of DuckDB."""
    answer = duckdb.connect().execute(sql)
    return [dict(zip([column[0] for column in answer.description or ()], row, strict=True)) for row in answer.fetchall()]


def test_duckdb(folder: Path) -> None:
    """The example, but for the lines that open S3: DuckDB downloads the extension that does."""
    query = here(example("sql"), folder).partition("SELECT")
    [row] = asked("".join(query[1:]))
    assert (row["service"], row["spans"], row["ms"] > 0) == ("shop", 3, True)


def test_types_and_indexes(folder: Path) -> None:
    """Standard types, folders as columns, and what lets an engine skip pages and groups."""
    files = f"{folder}/spans/*/*/*/*.parquet"
    [row] = asked(f"SELECT * FROM read_parquet('{files}', hive_partitioning = true) ORDER BY start_time LIMIT 1")
    assert (row["tenant"], str(row["date"]), int(row["hour"])) == ("t1", f"{STARTED:%Y-%m-%d}", STARTED.hour)
    assert row["attributes_string"] == {"http.route": "/cart"}
    described = asked(f"DESCRIBE SELECT start_time, attributes_string, \"events.name\" FROM read_parquet('{files}')")
    kinds = {one["column_name"]: one["column_type"] for one in described}
    assert kinds == {"start_time": "TIMESTAMPTZ_NS", "attributes_string": "MAP(VARCHAR, VARCHAR)", "events.name": "VARCHAR[]"}
    [ids] = asked(f"SELECT compression, bloom_filter_offset FROM parquet_metadata('{files}') WHERE path_in_schema = 'trace_id'")
    assert ids["compression"] == "ZSTD"
    assert ids["bloom_filter_offset"] is not None


def test_pandas(folder: Path) -> None:
    """The example, but for what opens S3."""
    code = re.sub(r" *storage_options=.*\n", "", here(example("python"), folder))
    known: dict[str, Any] = {}
    exec(code, known)  # noqa: S102  # the document's own example
    spans = known["spans"]
    assert list(spans["service"]) == ["shop"] * 4
    assert (spans["duration_ns"] > 0).all()
