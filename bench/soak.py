"""Faults of every kind against a whole suite, in an order determined by a seed, while a ledger checks that nothing acknowledged is lost or
duplicated.

    python -m bench.soak [--seconds 900] [--seed 1]

Each round has its own ledger, which sends throughout a few faults: a process is killed or frozen, NATS' disk is filled (if a small one can
be mounted), the receivers are flooded. When sending has stopped and everything is written, the tail of the WAL's files may be cut off.
After each round its ledger is compared with what can be read, and after the last round every ledger is compared again. It ends by itself,
with exit status 1 and a report on failure.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.disk import fill, small_disk
from tests.support.hostile import Attack, attacks
from tests.support.ledger import Ledger, assert_exactly_once
from tests.support.suite import Suite, until

KILL, FREEZE, FILL, FLOOD = "kill", "freeze", "fill the disk", "flood"
_KILLED = ("ingest", "nats", "hotnode-0", "coordinator", "query", "compactor", "s3")
_FROZEN = ("ingest", "nats", "hotnode-0", "query", "coordinator")
_MORE_SPANS, _HEALED_SECONDS, _READ_SECONDS = 60, 120.0, 120.0
_CUT_BYTES = 4_096
_LEAST_ROUNDS = 4
_ATTACK_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; ``seconds`` is how long it lasts."""

    kind: str
    victim: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """The faults under one ledger, and whether the tail of the WAL's files is cut off afterwards."""

    faults: Sequence[Fault]
    cut_tail: bool


def rounds(seed: int) -> Iterator[Round]:
    """The endless rounds of a seed; pure. The first four begin with a different kind each, so that a short soak has all of them."""
    chance = random.Random(seed)  # to be repeated, not to be secret
    first = [KILL, FREEZE, FILL, FLOOD]
    chance.shuffle(first)
    number = 0
    while True:
        kinds = [first[number]] if number < len(first) else []
        kinds += chance.choices((KILL, FREEZE, FILL, FLOOD), weights=(5, 3, 1, 2), k=chance.randint(1, 2))
        yield Round([_fault(kind, chance) for kind in kinds], cut_tail=number % 2 == 0)
        number += 1


def _fault(kind: str, chance: random.Random) -> Fault:
    match kind:
        case "kill":
            return Fault(kind, chance.choice(_KILLED))
        case "freeze":
            return Fault(kind, chance.choice(_FROZEN), round(chance.uniform(1, 6), 1))
        case _:
            return Fault(kind, "", round(chance.uniform(2, 5), 1))


class Soak:
    """A running suite under faults. ``nats`` is the directory of its NATS server; ``fillable`` says whether that is a small file system of
    its own.
    """

    def __init__(self, suite: Suite, nats: Path, *, fillable: bool, say: Callable[[str], None] = print) -> None:
        self._suite, self._nats, self._fillable, self._say = suite, nats, fillable, say
        self._attacks: list[Attack] = list(attacks(_ATTACK_BYTES))
        self.ledgers: list[Ledger] = []

    def run(self, seed: int, seconds: float) -> int:
        """Run rounds until the time is over, at least those that have every kind of fault; return the number of acknowledged spans. Raises
        AssertionError if spans are lost or duplicated.
        """
        ends = time.monotonic() + seconds
        for number, planned in enumerate(rounds(seed)):
            with Ledger(self._suite, service=f"soak-{number}", pause=0.4) as ledger:
                self.ledgers.append(ledger)
                ledger.wait_for(_MORE_SPANS, _HEALED_SECONDS)
                for fault in planned.faults:
                    self._say(f"round {number}: {fault.kind} {fault.victim} {fault.seconds or ''}".rstrip())
                    self._inflict(fault)
                    ledger.wait_for(_MORE_SPANS, _HEALED_SECONDS)
            assert_exactly_once(self._suite, ledger, _READ_SECONDS)
            self._say(f"round {number}: {len(ledger.acknowledged)} spans exactly once, retried after {dict(ledger.retries)}")
            if planned.cut_tail:
                self._cut_tail(number)
            if number + 1 >= _LEAST_ROUNDS and time.monotonic() >= ends:
                break
        for ledger in self.ledgers:
            assert_exactly_once(self._suite, ledger, _READ_SECONDS)
        return sum(len(ledger.acknowledged) for ledger in self.ledgers)

    def _inflict(self, fault: Fault) -> None:
        match fault.kind:
            case "kill":
                killed = self._suite.kill(fault.victim)
                until(lambda: (child := self._suite.children().get(fault.victim)) is not None and child.pid != killed, "a restart", 60)
            case "freeze":
                child = until(lambda: self._suite.children().get(fault.victim), f"process {fault.victim}")
                child.suspend()
                time.sleep(fault.seconds)
                # The supervisor may have found it unhealthy, and ended it.
                if child.is_running():
                    child.resume()
            case "fill the disk" if self._fillable:
                filler = self._nats / "filler"
                fill(filler)
                time.sleep(fault.seconds)
                filler.unlink()
            case "flood":
                ends = time.monotonic() + fault.seconds
                while time.monotonic() < ends:
                    for attack in self._attacks:
                        self._send(attack)

    def _send(self, attack: Attack) -> None:
        port = self._suite.http_port if attack.port == "otlp" else self._suite.datadog_port
        request = urllib.request.Request(f"http://127.0.0.1:{port}{attack.path}", attack.body, attack.headers)  # loopback
        status = 0
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # the same
                status = answer.status
        except urllib.error.HTTPError as refused:
            status = refused.code
        except OSError:
            return  # a process that is on its way back
        assert status < 500 or status == 503, f"{attack.name}: status {status}"

    def _cut_tail(self, number: int) -> None:
        """Cut the tail of the WAL's files when everything acknowledged is in the hot tier: a WAL that lost its last bytes must not be
        written again or skipped.
        """
        self._suite.kill("ingest", signal.SIGSTOP)
        supervisor = self._suite.pid
        os.kill(supervisor, signal.SIGSTOP)
        try:
            stopped = self._suite.children()["nats"]
            stopped.kill()
            until(lambda: not stopped.is_running() or stopped.status() == "zombie", "NATS to be dead")
            blocks = sorted(self._nats.glob("**/streams/*_wal_0/msgs/*.blk"), key=lambda path: path.stat().st_mtime)
            with blocks[-1].open("r+b") as block:
                size = block.seek(0, 2)
                block.truncate(max(0, size - _CUT_BYTES))
        finally:
            os.kill(supervisor, signal.SIGCONT)
            self._suite.kill("ingest", signal.SIGCONT)
        self._say(f"round {number}: cut {min(size, _CUT_BYTES)} bytes off {blocks[-1].name}, of {size}")


def soak(directory: Path, seed: int, seconds: float, say: Callable[[str], None] = print) -> int:
    """Run a suite in ``directory`` under a soak; return the number of acknowledged spans. Raises as Soak.run does."""
    nats = directory / "data" / "nats"
    with small_disk(nats) as problem:
        if problem:
            say(f"the disk is not filled: {problem}")
        with Suite(directory) as suite:
            return Soak(suite, nats, fillable=not problem, say=say).run(seed, seconds)


def main(arguments: Sequence[str]) -> int:
    """Run the soak; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}, {options.seconds:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="tael-soak-") as directory:
        try:
            spans = soak(
                Path(directory), options.seed, options.seconds, lambda text: print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
            )
        except AssertionError as failed:
            print(f"seed {options.seed}: {failed}", file=sys.stderr)
            return 1
    print(f"{spans} acknowledged spans, each readable exactly once")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
