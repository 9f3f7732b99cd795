"""Who a process is to a NATS that knows its clients by keys: the file that ``nsc`` writes for a user (``.creds``: a JWT and a seed), or an nkey's seed alone.

The file is read again when it changes, so that a renewed JWT is used by the next connection.
"""

from __future__ import annotations

import re
from collections import UserString
from collections.abc import Callable
from typing import Any

from tael.errors import Rejected
from tael.runtime.settings import NATS_CREDS_FILE, NatsSettings
from tael.runtime.watched import WatchedFile

_SECTION = r"-{3,}BEGIN %s-{3,}\s+(\S+)\s+-{3,}END %s-{3,}"


def key_arguments(settings: NatsSettings) -> Callable[[], dict[str, Any]]:
    """What is added to the arguments of the client's ``connect``, asked anew for each connection. Raises BadSettings for a file of another kind."""
    if settings.nats_creds_file is None:
        return dict
    return WatchedFile(settings.nats_creds_file, arguments_of, NATS_CREDS_FILE).read


def arguments_of(text: str) -> dict[str, Any]:
    """The client's arguments for the text of a file. Raises Rejected for what is neither a user's credentials nor a user's seed."""
    jwt, seed = _section("NATS USER JWT", text), _section("USER NKEY SEED", text)
    if jwt and seed:
        _check(seed)
        return {"user_credentials": UserString(_marked("NATS USER JWT", jwt) + _marked("USER NKEY SEED", seed))}
    _check(text.strip())
    return {"nkeys_seed_str": text.strip()}


def _section(name: str, text: str) -> str:
    found = re.search(_SECTION % (name, name), text)
    return found[1] if found else ""


def _marked(name: str, value: str) -> str:
    return f"-----BEGIN {name}-----\n{value}\n------END {name}------\n"


def _check(seed: str) -> None:
    import nkeys  # with libsodium, which only those need whose NATS asks for keys

    try:
        kind = nkeys.decode_seed(seed.encode())[0]
    except (nkeys.NkeysError, ValueError) as error:
        raise Rejected("neither a user's .creds file nor an nkey's seed") from error
    if kind != nkeys.PREFIX_BYTE_USER:
        raise Rejected("the seed is not that of a user, which begins with SU")
