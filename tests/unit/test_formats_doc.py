"""docs/formats.md has the same tables, letters and bounds as the code."""

from __future__ import annotations

import re
from pathlib import Path

from tael.cold.files import ROLLED
from tael.model.streams import INDEX_LABELS
from tael.storage.clickhouse import attribute_keys
from tael.storage.clickhouse.flatten import two_maps, typed_maps
from tael.storage.clickhouse.rolling import SUFFIX
from tael.storage.clickhouse.rows import DECODERS
from tael.storage.clickhouse.schema import DEDUPLICATION_WINDOW, KEPT, read_migrations
from tael.storage.clickhouse.writer import LANDINGS

DOC = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
DDL = "\n".join(statement for migration in read_migrations() for statement in migration.statements)


def table_after(words: str) -> list[list[str]]:
    """The cells of the first table after these words, without its header and without backticks."""
    lines = DOC[DOC.index(words) :].splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


def test_each_body_has_its_landing_table() -> None:
    assert table_after("## Inserts into the hot tier") == [[signal, landing.table] for signal, landing in LANDINGS.items()]


def test_each_table_with_partitions_is_listed() -> None:
    assert table_after("## The tables of the hot tier") == [[name, kept.signal, str(kept.hours)] for name, kept in KEPT.items()]


def test_every_table_that_is_created_is_named() -> None:
    """And every table that is named is created."""
    created = set(re.findall(r"CREATE TABLE IF NOT EXISTS \{\{database\}\}\.(\w+)", DDL))
    landings = {name for name in created if re.search(r"_in_\d+$", name)}
    twins = {f"{name}{SUFFIX}" for name in ROLLED}
    assert created - landings == set(KEPT) | twins | {"tael_counted_since", "tael_condemned_payloads", "tael_known_references"}
    assert [KEPT[name].signal for name in ROLLED] == [rolled.signal for rolled in ROLLED.values()]
    assert {KEPT[name].hours for name in ROLLED} == {1}
    assert set(re.findall(r"`(\w+_in_\d+)`", DOC)) <= landings
    assert {landing.table for landing in LANDINGS.values()} <= landings
    assert set(re.findall(r"(?m)^## The (\w+) table$", DOC)) <= created


def test_the_ids_of_rolled_tables_are_listed() -> None:
    listed = [[name, ", ".join(f"`{column}`" for column in rolled.ids).strip("`")] for name, rolled in ROLLED.items()]
    assert table_after("`checksum` is the sum") == listed


def test_every_letter_of_other_values_is_listed() -> None:
    """As written and as read."""
    listed = [row[0] for row in table_after("The first letter of a value")]
    assert sorted(listed) == sorted(DECODERS)
    written = " ".join(text for name, text in [*typed_maps("x"), *two_maps("x")] if name == "other")
    with_text, alone = set(re.findall(r"concat\('(\w)'", written)), set(re.findall(r"'([a-z])'[,)]", written))
    assert with_text | alone == set(listed)


def test_types_of_a_body_are_listed() -> None:
    (enum,) = re.findall(r"body_type Enum8\((.*?)\)", DDL)
    (row,) = [cells for cells in table_after("## The logs table") if cells[0] == "body_type"]
    assert re.findall(r"`(\w+)`", row[1] + "`") == re.findall(r"'(\w+)'", enum)


def test_numbers_are_those_of_the_code() -> None:
    assert f"the last {DEDUPLICATION_WINDOW:,} inserts".replace(",", " ") in DOC
    keys = " ".join(DOC[DOC.index("## Attribute keys") : DOC.index("## Metrics")].split())
    assert f"at most {attribute_keys.MAX_KEYS:,}.".replace(",", " ") in keys
    assert f"the first {attribute_keys.FIRST_ROWS} rows of an insert and of one in {attribute_keys.ONE_ROW_IN} of the others" in keys
    assert f"more than {attribute_keys.VALUES_AT_ONCE} values" in keys
    assert f"values of at most {attribute_keys.VALUE_BYTES} bytes" in keys
    assert f"at most {attribute_keys.MAX_VALUES:,} pairs".replace(",", " ") in keys


def test_index_labels_are_attribute_names() -> None:
    """In the form that the document describes."""
    assert [name.replace(".", "_") for name in INDEX_LABELS.values()] == list(INDEX_LABELS)
    assert "tael/model/streams.py" in DOC
