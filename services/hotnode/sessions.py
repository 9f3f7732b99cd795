"""HTTP sessions: connections that outlive a request, and with them the effects of SET, USE and temporary tables.

The settings given with a request must not outlive it, so they are undone afterwards. For that, the session's own settings and database are
read after each statement that may have changed them.
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
    """A connection that is kept, opened by the first request that uses it; ``state`` is restored after each request."""

    state: State
    connection: Connection | None = None
    expires_at: float = 0.0
    busy: bool = True

    @property
    def may_set(self) -> bool:
        """Whether its settings can be changed; after ``SET readonly = 1`` not even this node can."""
        return self.state.settings.get("readonly", "0") != "1"

    def restore(self, connection: Connection, call: Call) -> None:
        """Undo what ``call.prelude()`` has set."""
        parts = [f"USE `{self.state.database}`;"] if call.database else []
        before = self.state.settings
        # A setting that the session had not changed is reset to DEFAULT: setting it to its old value would count as a change.
        values = (f"{name} = {quoted(before[name]) if name in before else 'DEFAULT'}" for name in call.settings)
        if call.settings:
            parts.append("SET " + ", ".join(values))
        if parts:
            connection.query(" ".join(parts))

    def learn(self, connection: Connection, verb: str) -> None:
        """Read the state again after a statement that begins with ``verb``, if that can change it."""
        if verb in _CHANGING_VERBS:
            self.state = read_state(connection)


def read_state(connection: Connection) -> State:
    """Query a connection's state. Raises StatementFailed."""
    # Without log_comment, which carries the query id and is set anew by each request.
    rows, _ = connection.query("SELECT name, value FROM system.settings WHERE changed AND name != 'log_comment'", "JSONCompactEachRow")
    database, _ = connection.query("SELECT currentDatabase()", "TSVRaw")
    return State(dict(json.loads(line) for line in rows.splitlines()), database.decode().rstrip("\n"))


class Sessions:
    """The sessions by their ids, which clients choose. Used from the event loop only."""

    def __init__(self, initial: State, clock: Callable[[], float] = time.monotonic) -> None:
        self._initial = initial
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def take(self, wish: SessionWish) -> Session:
        """The session, marked busy. Raises StatementFailed 373 while another request uses it, 372 when it must exist but does not."""
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
        """Mark the session idle after a request. Returns it if it ends with the request; the caller closes it."""
        session.busy = False
        session.expires_at = self._clock() + wish.timeout_seconds
        return [self._sessions.pop(wish.name)] if wish.close_after else []

    def expired(self) -> list[Session]:
        """Remove and return the idle sessions that have expired; the caller closes them."""
        now = self._clock()
        names = [name for name, session in self._sessions.items() if not session.busy and session.expires_at <= now]
        return [self._sessions.pop(name) for name in names]

    def drain(self) -> list[Session]:
        """Remove and return all sessions; the caller closes them."""
        sessions, self._sessions = list(self._sessions.values()), {}
        return sessions
