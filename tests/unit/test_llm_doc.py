"""The page on LLM calls matches the data files."""

from __future__ import annotations

from pathlib import Path

from docs.generate_llm import OUTPUT, generate
from tael.otlp.genai import KEYS
from tael.otlp.prices import read_prices
from tael.storage.clickhouse.llm import COLUMNS


def test_the_tables_are_fresh() -> None:
    """`make docs` writes them."""
    page = OUTPUT.read_text()
    assert generate(page) == page, "docs/llm.md is stale: make docs"


def test_every_column_of_the_table_is_read_from_something() -> None:
    """And everything that is read becomes a column; seconds to the first token and its time become milliseconds, and an entity a tool or an
    agent.
    """
    assert {name.removeprefix("llm_") for name, _ in COLUMNS} | {"ttft_seconds", "first_token_at", "entity"} == set(KEYS)


def test_the_example_of_prices_is_one(tmp_path: Path) -> None:
    """A file of that form is accepted, with its dates."""
    path = tmp_path / "prices.toml"
    path.write_text(OUTPUT.read_text().split("```toml\n")[1].split("```")[0])
    prices = read_prices(path)
    assert [table["house-model"].input for _, table in prices.periods] == [0.8, 1.0]
