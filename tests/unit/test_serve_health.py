"""When the supervisor considers a process unhealthy, from values alone."""

from __future__ import annotations

import pytest

from services.serve.health import SILENT_SECONDS, STARTING_SECONDS, UNHEALTHY_SECONDS, Check, Health, problem_of

WELL, SICK, SILENT = Check(), Check("write error"), Check("no answer", answered=False)
STARTING = Check("failed to be ready for connections after 1ms: server")


@pytest.mark.parametrize(("check", "patience"), [(SICK, UNHEALTHY_SECONDS), (SILENT, SILENT_SECONDS)])
def test_a_problem_that_lasts_needs_a_restart(check: Check, patience: float) -> None:
    health = Health(0).after(WELL, 1).after(check, 10).after(check, 12)
    assert not health.needs_restart(check, 10 + patience - 0.1)
    assert health.needs_restart(check, 10 + patience)


def test_a_good_answer_forgives() -> None:
    health = Health(0).after(WELL, 1).after(SICK, 10).after(WELL, 14)
    assert not health.needs_restart(WELL, 1000)
    assert not health.after(SICK, 15).needs_restart(SICK, 15 + UNHEALTHY_SECONDS / 2)


def test_a_process_may_take_long_to_start() -> None:
    health = Health(100).after(STARTING, 101).after(SILENT, 200)
    for check in (STARTING, SILENT):
        assert not health.needs_restart(check, 99 + STARTING_SECONDS)
        assert health.needs_restart(check, 100 + STARTING_SECONDS)


def test_a_write_error_before_the_first_good_answer_needs_a_restart_all_the_same() -> None:
    """NATS was started while its disk was full, and got an append before its health was checked."""
    health = Health(100).after(SICK, 101)
    assert not health.needs_restart(SICK, 101 + UNHEALTHY_SECONDS - 0.1)
    assert health.needs_restart(SICK, 101 + UNHEALTHY_SECONDS)


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, b"anything", ""),
        (503, b'{"status":"unavailable","error":"write error"}', "write error"),
        (503, b'{"status":"not ready","reasons":{"nats":"starting","log":"gone"}}', "nats: starting; log: gone"),
        (500, b"<html>", "its health check answered with status 500"),
        (503, b"[1]", "its health check answered with status 503"),
    ],
)
def test_an_answer_decides_the_health(status: int, body: bytes, problem: str) -> None:
    assert problem_of(status, body) == problem
