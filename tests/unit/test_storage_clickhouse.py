"""The pure parts of the ClickHouse adapter: migrations, errors, rows."""

from __future__ import annotations

import math

import aiohttp
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from tael.errors import Overloaded, Rejected, Retryable, TaelError, TooLarge, Unavailable
from tael.storage.api import ServiceStats
from tael.storage.clickhouse.client import Limits, translate
from tael.storage.clickhouse.rows import merge_maps
from tael.storage.clickhouse.schema import Migration, fill, pending, read_migrations
from tael.storage.clickhouse.spans import service_stats


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DatabaseError("many parts", code=252), Overloaded),
        (DatabaseError("Too many partitions for single INSERT block (more than 1000)", code=252), Rejected),
        (DatabaseError("memory", code=241), Overloaded),
        (DatabaseError("queries", code=202), Overloaded),
        (DatabaseError("a number that is too wide", code=436), Rejected),
        (DatabaseError("Maximum parse depth (1000) exceeded", code=306), TooLarge),
        (DatabaseError("slow", code=159), Unavailable),
        (DatabaseError("read only", code=242), Unavailable),
        (DatabaseError("keeper", code=999), Unavailable),
        (DatabaseError("no such table", code=60), Unavailable),
        (DatabaseError("password", code=516), Unavailable),
        (DatabaseError("disk", code=243), Unavailable),
        (DatabaseError("never seen before", code=99999), Unavailable),
        (DatabaseError("protobuf", code=444), Rejected),
        (DatabaseError("cut", code=33), Rejected),
        (DatabaseError("cut", code=27), Rejected),
        (DatabaseError("incorrect", code=117), Rejected),
        (DatabaseError("id", code=131), Rejected),
        (DatabaseError("rows", code=396), TooLarge),
        (DatabaseError("Max query size exceeded (can be increased with the `max_query_size` setting): Syntax error", code=62), TooLarge),
        (DatabaseError("Query memory limit exceeded: would use 96 MiB", code=241), TooLarge),
        (OperationalError("refused"), Unavailable),
        (aiohttp.ClientConnectionError("reset"), Unavailable),
        (TimeoutError(), Unavailable),
        (ConnectionRefusedError(), Unavailable),
        (Rejected("already ours"), Rejected),
    ],
)
def test_errors_are_classified_by_what_to_do_next(error: Exception, expected: type[TaelError]) -> None:
    assert type(translate(error)) is expected


def test_a_question_over_its_own_memory_is_too_large() -> None:
    """A statement that exceeds the whole server's memory is Overloaded instead: it may succeed later."""
    assert isinstance(translate(DatabaseError("Query memory limit exceeded: would use 96 MiB", code=241), reading=True), TooLarge)
    assert isinstance(translate(DatabaseError("(total) memory limit exceeded", code=241), reading=True), Overloaded)


def test_an_overloaded_server_gets_a_pause() -> None:
    translated = translate(DatabaseError("many parts", code=252))
    assert isinstance(translated, Retryable)
    assert translated.retry_after_seconds > 1


def test_limits_become_settings() -> None:
    assert Limits(seconds=3, memory_bytes=4_096, result_rows=7).settings() == {
        "max_execution_time": 3,
        "timeout_before_checking_execution_speed": 0,
        "max_memory_usage": 4_096,
        "input_format_parquet_memory_high_watermark": 512,
        "max_result_rows": 7,
        "result_overflow_mode": "throw",
    }


def test_rows_that_lie_apart_are_read_with_the_cache() -> None:
    assert Limits(seconds=3, apart=True).settings() == {
        **Limits(seconds=3).settings(),
        "use_uncompressed_cache": 1,
        "merge_tree_min_rows_for_concurrent_read": 32_768,
        "merge_tree_min_bytes_for_concurrent_read": 40 << 20,
    }


def test_only_what_has_not_run_is_pending_in_order() -> None:
    first, second, third = (Migration(number, f"{number:04}", ()) for number in (1, 2, 3))
    assert pending([first, second, third], {1}) == [second, third]
    assert pending([first], {1}) == []
    with pytest.raises(Rejected, match=r"does not know \(3\): run a newer tael"):
        pending([first, second], {1, 2, 3})


REPEATABLE = (
    "INSERT INTO {{database}}.tael_counted_since\n",
    "INSERT INTO {{database}}.payload_hours\n",
    "INSERT INTO {{database}}.payload_references\n",
    "INSERT INTO {{database}}.tael_known_references\n",
    *(f"ALTER TABLE {{{{database}}}}.{table}\n    MODIFY SETTING " for table in ("spans", "spans_rolling")),
    *(
        f"ALTER TABLE {{{{database}}}}.{view} MODIFY QUERY"
        for view in ("spans_to_span_attribute_keys", "logs_to_log_attribute_keys", "logs_to_log_streams")
    ),
)
"""What a second run does no harm to by itself: of several rows the largest counts, or one remains, and a setting or a view's query stays
what it is.
"""


def test_migrations_have_a_number_each_and_can_be_repeated() -> None:
    """Every statement can run twice."""
    migrations = read_migrations()
    versions = [migration.version for migration in migrations]
    assert versions == sorted(set(versions))
    for statement in (statement for migration in migrations for statement in migration.statements):
        code = "\n".join(line for line in statement.splitlines() if not line.lstrip().startswith("--")).strip()
        assert "IF NOT EXISTS" in code or "IF EXISTS" in code or code.startswith(REPEATABLE), code[:80]


def test_placeholders_are_filled_for_either_engine() -> None:
    statement = "CREATE TABLE {{database}}.x ENGINE = {{engine}}, {{aggregating_engine}}"
    assert fill(statement, "d", "mergetree") == "CREATE TABLE d.x ENGINE = MergeTree, AggregatingMergeTree"
    assert fill(statement, "d", "replicated") == "CREATE TABLE d.x ENGINE = ReplicatedMergeTree, ReplicatedAggregatingMergeTree"
    for migration in read_migrations():
        assert all("{{" not in fill(text, "d", "replicated") for text in migration.statements)
    with pytest.raises(KeyError):
        fill("{{nonsense}}", "d", "mergetree")


def test_encoded_values_are_read_by_their_letter() -> None:
    other = {
        b"n": "n",
        b"i": "i-5",
        b"d": "d1e-7",
        b"inf": "d-inf",
        b"nan": "dnan",
        b"t": "t",
        b"f": "f",
        b"b": "bAAE=",
        b"a": "a",
        b"k": "k",
    }
    merged = merge_maps(({b"s": b"\xff"}, other))
    assert math.isnan(merged.pop("nan"))  # type: ignore[arg-type]  # a double by its letter
    assert merged == {"s": "\ufffd", "n": None, "i": -5, "d": 1e-7, "inf": -math.inf, "t": True, "f": False, "b": b"\0\1", "a": [], "k": {}}


def test_a_service_has_no_more_traces_than_spans() -> None:
    """The sketch that counts them errs by a percent in both directions."""
    assert service_stats("shop", 20_000, 20_488, 3, 7) == ServiceStats("shop", 20_000, 20_000, 3, 7)
    assert service_stats("shop", 20_000, 400, 3, 7) == ServiceStats("shop", 20_000, 400, 3, 7)
