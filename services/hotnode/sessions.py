"""HTTP sessions: a connection that outlives its request, so that SET, USE and temporary tables do too.

A request's own settings must not outlive it, so they are put back afterwards: what a session has made of its settings and database
is remembered here whenever a statement of it may have changed them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.hotnode.call import Call, SessionWish
from services.hotnode.engine import Connection, quoted
from services.hotnode.errors import SESSION_IS_LOCKED, SESSION_NOT_FOUND, failed

_CHANGING_VERBS = frozenset({"SET", "USE"})


@dataclass(frozen=True, slots=True)
class State:
    """A connection's changed settings and current database."""

    settings: Mapping[str, str]
    database: str


@dataclass(slots=True)
class Session:
    """A kept connection, opened by the first request that uses it; ``state`` is what a request's own settings give way to."""

    state: State
    connection: Connection | None = None
    expires_at: float = 0.0
    busy: bool = True

    @property
    def may_set(self) -> bool:
        """Whether its settings can be changed; after ``SET readonly = 1`` nothing can, not even by this node."""
        return self.state.settings.get("readonly", "0") != "1"

    def restore(self, connection: Connection, call: Call) -> None:
        """Undo what ``call.prelude()`` put in force."""
        parts = [f"USE `{self.state.database}`;"] if call.database else []
        before = self.state.settings
        # What the session had not set goes back to the default and not to what was read, or it would count as set from then on.
        values = (f"{name} = {quoted(before[name]) if name in before else 'DEFAULT'}" for name in call.settings)
        if call.settings:
            parts.append("SET " + ", ".join(values))
        if parts:
            connection.query(" ".join(parts))

    def learn(self, connection: Connection, verb: str) -> None:
        """Remember the state after a statement that opens with ``verb``, if that can change it."""
        if verb in _CHANGING_VERBS:
            self.state = read_state(connection)


def read_state(connection: Connection) -> State:
    """Ask a connection for its state. Raises StatementFailed."""
    rows, _ = connection.query("SELECT name, value FROM system.settings WHERE changed AND name != 'log_comment'", "JSONCompactEachRow")
    database, _ = connection.query("SELECT currentDatabase()", "TSVRaw")
    return State(dict(json.loads(line) for line in rows.splitlines()), database.decode().rstrip("\n"))


class Sessions:
    """Sessions by user's name for them. Used from the event loop only."""

    def __init__(self, initial: State, clock: Callable[[], float] = time.monotonic) -> None:
        self._initial = initial
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def take(self, wish: SessionWish) -> Session:
        """The session, now busy. Raises StatementFailed 373 while another request uses it, 372 when it must exist and does not."""
        session = self._sessions.get(wish.name)
        if session is None:
            if wish.must_exist:
                raise failed(SESSION_NOT_FOUND, f"Session {wish.name} not found")
            session = self._sessions[wish.name] = Session(self._initial)
        elif session.busy:
            raise failed(SESSION_IS_LOCKED, f"Session {wish.name} is locked by a concurrent client")
        session.busy = True
        return session

    def release(self, wish: SessionWish, session: Session) -> list[Session]:
        """The request is over. Returns the session when it ends with its request; the caller closes it."""
        session.busy = False
        session.expires_at = self._clock() + wish.timeout_seconds
        return [self._sessions.pop(wish.name)] if wish.close_after else []

    def expired(self) -> list[Session]:
        """Forget and return the idle sessions whose time is over; the caller closes them."""
        now = self._clock()
        names = [name for name, session in self._sessions.items() if not session.busy and session.expires_at <= now]
        return [self._sessions.pop(name) for name in names]

    def drain(self) -> list[Session]:
        """Forget and return all; the caller closes them."""
        sessions, self._sessions = list(self._sessions.values()), {}
        return sessions
