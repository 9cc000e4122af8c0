"""`python -m uir` is the command `uir`."""

from uir.cli import main

main()
