"""The ``tael`` command: queries a server over its native API and prints JSON, or tables for people.

Exit codes: 0 done, 1 the server could not do it, 2 wrong usage, 3 no server could be reached.
"""

from tael.cli.checkup import doctor
from tael.cli.cold import cold
from tael.cli.commands import main
from tael.cli.deadletters import deadletter
from tael.cli.keeping import delete, deletions, retention
from tael.cli.llm import llm
from tael.cli.state import backup, restore

for command in (cold, retention, delete, deletions, llm, deadletter):
    main.add_command(command)
for command in (doctor, backup, restore):
    main.add_command(command)

__all__ = ["main"]
