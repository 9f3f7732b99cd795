"""``ip("10.0.0.0/8")``: whether a text contains the given address, or one in the given network or range."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from tael.syntax.literals import quoted

Address: TypeAlias = IPv4Address | IPv6Address

# Where Loki looks for an address: at a digit with a dot within the next three characters, and at hex digits before a colon.
_CANDIDATE: Final = re.compile(
    r"[0-9](?=[^.]{0,2}\.)[0-9.]*|(?:::(?=[0-9a-fA-F])|[0-9a-fA-F]{1,4}:)[0-9a-fA-F:.]*",
)


@lru_cache(maxsize=256)
def ip_matcher(pattern: str) -> Callable[[str], bool]:
    """A test whether a text contains an address that matches ``pattern``: an address, ``first-last`` or a network. Raises ValueError."""
    contains = _contains(pattern)

    def found(text: str) -> bool:
        return any(address is not None and contains(address) for address in map(_address, _CANDIDATE.findall(text)))

    return found


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _contains(pattern: str) -> Callable[[Address], bool]:
    if (single := _address(pattern)) is not None:
        return lambda address: address == single
    first, dash, last = pattern.partition("-")
    low, high = _address(first.strip()), _address(last.strip())
    if dash and low is not None and high is not None and low.version == high.version and int(low) <= int(high):
        version, start, end = low.version, int(low), int(high)
        return lambda address: address.version == version and start <= int(address) <= end
    try:
        network: IPv4Network | IPv6Network = ip_network(pattern, strict=False)
    except ValueError:
        network = None  # type: ignore[assignment]
    if network is None or "/" not in pattern:
        raise ValueError(f"ip: invalid pattern: {quoted(pattern)}")
    return lambda address: address in network
