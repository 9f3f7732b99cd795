"""What somebody asked by hand to leave the hot tier; pure."""

from __future__ import annotations

from tael.cluster.stored import Stored

ROLL_KEY = "roll"
"""The key of the request, which holds for all shards until another takes its place."""


class RollRequest(Stored):
    """Hours that ended before ``before_ns`` are to leave now, whatever the hot window says; 0 asks for nothing."""

    before_ns: int = 0
