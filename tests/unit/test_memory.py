"""Returning freed memory to the system."""

from __future__ import annotations

from tael.runtime.memory import Memory


def test_it_is_due_once_a_second() -> None:
    clock, seen = [0.0], []
    memory = Memory(lambda: clock[0])
    for clock[0] in (0.5, 1.0, 1.5, 2.0, 2.5):
        seen.append(memory.is_due)
        if memory.is_due:
            memory.give_back()
    assert seen == [False, True, False, True, False]
