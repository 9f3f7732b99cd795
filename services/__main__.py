"""``python -m services <name>``: one process of the suite."""

from __future__ import annotations

import os
import sys

from services import wiring
from tael.errors import BadSettings
from tael.runtime.config import load
from tael.runtime.service import EXIT_BAD_SETTINGS, EXIT_OK, explain, run

_USAGE = "usage: python -m services NAME\n\n{names}\n\nSettings come from TAEL_ variables; docs/configuration.md lists them.\n"


def main(arguments: list[str]) -> int:
    """Run the named target until it is stopped; return its exit code."""
    names = "\n".join(f"  {name:<12} {target.purpose}" for name, target in wiring.TARGETS.items())
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(_USAGE.format(names=names))
        return EXIT_OK
    if len(arguments) != 1 or arguments[0] not in wiring.TARGETS:
        sys.stderr.write(_USAGE.format(names=names))
        return EXIT_BAD_SETTINGS
    target = wiring.TARGETS[arguments[0]]
    try:
        settings = load(target.settings(), os.environ, wiring.all_settings())
    except BadSettings as error:
        return explain(error)
    return run(lambda stop: target.run(settings, stop))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
