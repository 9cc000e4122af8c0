"""The command `uir`, one file for each group of commands."""

from uir.cli.main import app, main, run, spread

__all__ = ["app", "main", "run", "spread"]
