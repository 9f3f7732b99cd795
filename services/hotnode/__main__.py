"""``python -m services.hotnode``: the hot node alone, without loading the rest of the suite."""

from __future__ import annotations

import os
import sys

from services.hotnode import app
from services.hotnode.settings import HotNodeSettings
from tael.errors import BadSettings
from tael.runtime.config import load, variables
from tael.runtime.observe import configure_logging
from tael.runtime.service import EXIT_BAD_SETTINGS, Stop, run


def main() -> int:
    """Run until stopped; return the exit code."""
    try:
        own = {name: value for name, value in os.environ.items() if name in variables(HotNodeSettings)}
        settings = load(HotNodeSettings, own)
    except BadSettings as error:
        sys.stderr.writelines(f"tael: {problem}\n" for problem in error.problems)
        return EXIT_BAD_SETTINGS
    configure_logging(settings, "hotnode")

    async def serve(stop: Stop) -> None:
        await app.run(settings, stop)

    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
