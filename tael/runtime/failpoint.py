"""Named places where a fault test makes the process die as if by kill -9.

Code calls ``fail("name")`` at the place; outside fault tests no name is set and nothing happens.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TypeAlias

FailPoint: TypeAlias = Callable[[str], None]


def fail_at(name: str) -> FailPoint:
    """A FailPoint that kills this process at the place ``name``, at once and without clean-up."""

    def fail(place: str) -> None:
        if name and place == name:
            os.kill(os.getpid(), signal.SIGKILL)

    return fail
