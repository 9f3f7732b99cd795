"""Every error that crosses a room's border, named for what the caller should do next.

    TaelError
    ├── Rejected        the request is wrong: change it, do not send it again as it is
    │   └── TooLarge    it is over a limit that a setting names
    │       └── StoredInPart  some of its items are stored: send the ``rest`` in pieces, and not what is stored
    ├── Unauthenticated the caller did not say who it is in a way that is known: come with a token
    ├── Forbidden       the caller is known and may not do this: ask for the right, do not retry
    ├── NotFound        there is no such thing
    ├── Retryable       nothing was stored: send the same again after ``retry_after_seconds``
    │   ├── Overloaded  this process or this tenant is over its limit
    │   └── Unavailable a part that the answer needs cannot be reached
    │       └── Unreadable  an object of the bucket cannot be read: go on without it, and name it
    ├── Fenced          somebody else owns this now: stop, do not retry
    ├── Damaged         what is stored under a key cannot be read: leave it alone, name it, go on with the others
    ├── Conflict        the value changed since it was read: read again, decide again
    ├── Diverged        the WAL is not the one that was read before: find the place to go on from
    └── BadSettings     the process must not start

``tael.runtime.http`` and the gRPC receivers map these to statuses, once, at the edge. Anything else that escapes is a bug and is
answered as an internal error.
"""

from __future__ import annotations


class TaelError(Exception):
    """The root; never raised itself."""


class Rejected(TaelError):
    """The request is wrong. ``where`` names the field or parameter, ``accepted`` says what it takes."""

    def __init__(self, reason: str, *, where: str = "", accepted: str = "") -> None:
        self.reason = reason
        self.where = where
        self.accepted = accepted
        text = f"{where}: {reason}" if where else reason
        super().__init__(f"{text} (accepted: {accepted})" if accepted else text)


class TooLarge(Rejected):
    """The request is over a size limit; sending it again as it is cannot succeed."""


class StoredInPart(TooLarge):
    """A body of the WAL is too large and some of its items are stored; ``rest`` is the body without them, empty when all are."""

    def __init__(self, reason: str, rest: bytes) -> None:
        super().__init__(reason)
        self.rest = rest


class Unauthenticated(TaelError):
    """The request carries no token that is known."""


class Forbidden(TaelError):
    """The token is known, and does not allow this scope or this tenant."""


class NotFound(TaelError):
    """There is no such thing, in any shard that was asked."""


class Retryable(TaelError):
    """Nothing of the request was stored or answered; the same request may succeed after ``retry_after_seconds``."""

    def __init__(self, reason: str, *, retry_after_seconds: float = 1.0) -> None:
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        super().__init__(reason)


class Overloaded(Retryable):
    """A bound of this process, this tenant or the log is reached; slow down."""


class Unavailable(Retryable):
    """A part that this request needs cannot be reached now."""


class Unreadable(Unavailable):
    """An object of the bucket cannot be read; ``key`` ends in its key. ``alone``: others probably can."""

    def __init__(self, key: str, *, alone: bool) -> None:
        super().__init__(f"the object {key} cannot be read")
        self.key = key
        self.alone = alone


class Fenced(TaelError):
    """Another holder has a newer epoch; whatever this caller was about to commit must not be committed."""


class Conflict(TaelError):
    """A compare-and-set lost: the key's revision is not the one that was read."""


class Damaged(TaelError):
    """What is stored under ``key`` is not what belongs there; ``reason`` says how."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        self.reason = reason
        super().__init__(f"{key} is damaged: {reason}")


class Diverged(TaelError):
    """The entry that was read last is not in the WAL any more: its tail was lost, or it was recreated."""


class BadSettings(TaelError):
    """One or more settings are unusable; ``problems`` holds one printable line each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
