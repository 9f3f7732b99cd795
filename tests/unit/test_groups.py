"""Which columns are read when some groups are empty."""

from __future__ import annotations

from tael.storage.clickhouse import groups, rows


def test_a_row_without_its_empty_groups_is_whole() -> None:
    """For any pair of groups: selected columns are in their places, and the others have their empty values."""
    for empty in {1 << one | 1 << other for one in range(16) for other in range(16)} | {0, 65_535}:
        selected = groups.columns(empty)
        row = groups.whole([*selected, empty], empty)
        assert len(row) == len(rows.COLUMNS)
        assert all(not value or value == name for name, value in zip(rows.COLUMNS, row, strict=True))
        assert [value for value in row if value] == list(selected)


def test_every_group_has_a_bit_and_columns() -> None:
    """Sixteen bits, no column in two groups, and only columns of a row."""
    left_out = [set(rows.COLUMNS) - set(groups.columns(1 << bit)) for bit in range(16)]
    assert all(left_out)
    assert sum(map(len, left_out)) == len(set(rows.COLUMNS) - set(groups.columns(65_535)))
    assert groups.columns(0) == rows.COLUMNS


def test_groups_that_are_empty_in_all_rows_are_left_out() -> None:
    """A group is left out only if it is empty in all of them."""
    assert groups.common([0b1101, 0b0111]) == 0b0101
