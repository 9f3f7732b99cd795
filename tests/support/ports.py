"""Ports for servers that a test starts."""

from __future__ import annotations

import random
import socket
from collections import deque

LOW, HIGH = 10_240, 32_767
"""Below what Linux chooses from for outgoing connections and for port 0."""

_held: deque[socket.socket] = deque(maxlen=200)


def free_port(high: int = HIGH) -> int:
    """A port of 127.0.0.1, of ``high`` at most, that nobody listens on or has reserved.

    It stays reserved for this test: servers set SO_REUSEADDR and can listen on it, now and after a restart, while other processes of the
    tests do not choose it. A port that the system chooses can be lost to an outgoing connection before its server has started.
    """
    while True:
        holder, port = socket.socket(), random.randint(LOW, high)
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        # Bound without it, so that only one process has the port; set afterwards, so that servers may share it.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if len(_held) == _held.maxlen:
            _held.popleft().close()
        _held.append(holder)
        return port
