"""Manual requests to roll hours out of the hot tier; pure."""

from __future__ import annotations

from tael.cluster.stored import Stored

ROLL_KEY = "roll"
"""The key of the request, which applies to all shards until it is replaced."""


class RollRequest(Stored):
    """Roll the hours that ended before ``before_ns`` now, regardless of the hot window; 0 requests nothing."""

    before_ns: int = 0
