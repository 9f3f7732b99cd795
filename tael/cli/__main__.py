"""``python -m tael.cli``: the ``tael`` command where it is not installed, as in the image."""

from tael.cli import main

main(prog_name="tael")
