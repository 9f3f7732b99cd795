"""Every error that crosses a package's border, named for what the caller should do next.

    TaelError
    ├── Rejected        the request is wrong: change it, do not send it again unchanged
    │   └── TooLarge    it exceeds a limit that a setting names
    │       └── StoredInPart  some of its items are stored: send only the ``rest``, in pieces
    ├── Unauthenticated the request has no known token: send one
    ├── Forbidden       the caller is known but may not do this: get the right, do not retry
    ├── NotFound        the requested object does not exist
    ├── Retryable       nothing was stored: send the same request again after ``retry_after_seconds``
    │   ├── Overloaded  this process or this tenant is over its limit
    │   └── Unavailable a part that the answer needs cannot be reached
    │       └── Unreadable  an object of the bucket cannot be read: continue without it, and name it
    ├── Fenced          another process owns this now: stop, do not retry
    ├── Damaged         the value of a key cannot be decoded: leave it alone, name it, continue with the others
    ├── Conflict        the value changed since it was read: read again, decide again
    ├── Diverged        the WAL is not the one that was read before: find the place to resume from
    └── BadSettings     the process must not start

``tael.runtime.http`` and the gRPC receivers map these to statuses, once, at the edge. Anything else that escapes is a bug and is
answered as an internal error.
"""

from __future__ import annotations


class TaelError(Exception):
    """The base class; never raised itself."""


class Rejected(TaelError):
    """The request is wrong. ``where`` names the field or parameter, ``accepted`` says what it accepts."""

    def __init__(self, reason: str, *, where: str = "", accepted: str = "") -> None:
        self.reason = reason
        self.where = where
        self.accepted = accepted
        text = f"{where}: {reason}" if where else reason
        super().__init__(f"{text} (accepted: {accepted})" if accepted else text)


class TooLarge(Rejected):
    """The request exceeds a size limit; sending it again unchanged cannot succeed."""


def too_deep() -> Rejected:
    """The error for a request whose nesting exhausts the stack of recursive functions, of which Python says RecursionError."""
    return Rejected("nested too deeply", where="query", accepted="fewer brackets in each other, and fewer operators in a row")


class StoredInPart(TooLarge):
    """A body of the WAL is too large, and some of its items are stored; ``rest`` is the body without those, empty if all are stored."""

    def __init__(self, reason: str, rest: bytes) -> None:
        super().__init__(reason)
        self.rest = rest


class Unauthenticated(TaelError):
    """The request carries no known token."""


class Forbidden(TaelError):
    """The token is known, but does not allow this scope or this tenant."""


class NotFound(TaelError):
    """The requested object does not exist in any of the queried shards."""


class Retryable(TaelError):
    """Nothing of the request was stored or answered; the same request may succeed after ``retry_after_seconds``."""

    def __init__(self, reason: str, *, retry_after_seconds: float = 1.0) -> None:
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        super().__init__(reason)


class Overloaded(Retryable):
    """A limit of this process, this tenant or the WAL is reached; slow down."""


class Unavailable(Retryable):
    """A part that this request needs cannot be reached now."""


class Unreadable(Unavailable):
    """An object of the bucket cannot be read; ``key`` ends in its key. ``alone``: other objects probably can be read. ``silent``: the store
    gives no answer at all, and will probably give none about others.
    """

    def __init__(self, key: str, *, alone: bool, silent: bool = False) -> None:
        super().__init__(f"the object {key} cannot be read")
        self.key = key
        self.alone = alone
        self.silent = silent


class Fenced(TaelError):
    """Another holder has a newer epoch; this caller must not commit anything any more."""


class Conflict(TaelError):
    """A compare-and-set failed: the key's revision is not the one that was read."""


class Damaged(TaelError):
    """The value stored under ``key`` cannot be decoded, or is not of the expected kind; ``reason`` says why."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        self.reason = reason
        super().__init__(f"{key} is damaged: {reason}")


class Diverged(TaelError):
    """The last entry read is not in the WAL any more: the WAL's tail was lost, or it was recreated."""


class BadSettings(TaelError):
    """One or more settings are unusable; ``problems`` holds one printable line each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
