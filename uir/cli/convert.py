"""The command `uir convert`. Nothing heavy is imported before the command needs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer


def convert(
    old: Annotated[Path, typer.Argument(metavar="OLD.yml", help="Option file of another toolbox (YAML).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Option file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    plugin: Annotated[Optional[list[str]], typer.Option("--plugin", help="Module or file to import first.")] = None,  # noqa: UP045
    root: Annotated[Optional[Path], typer.Option("--root", help="Where relative paths start.")] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Rewrite the option file of another toolbox in uir's own keys.

    It reads files of DCPT and of BasicSR's forks.

    \b
    Example: uir convert published/pretrain_5d.yml -o options/train/pretrain_5d.yml

    Keys keep their order, and lines that mean the same in uir stay as they are, comments and numbers such as 1e-4
    included. A comment above a key or at the end of its line goes where the key goes. A key that was replaced carries
    `# was: ...`, one that uir needs beside it `# added`. A key that uir has nothing for becomes a comment that says
    what would be right, and is listed; one that nobody knows stays, and `uir check` tells about it.

    A file that inherits (`base:`) becomes one file: the keys of its bases are written into it, what it deletes by `~`
    is gone. Anchors are written out.

    Exit code 2 where the new file cannot be used as it is; it is written all the same, to be finished by hand.
    """
    if output.exists() and output.resolve() == old.resolve():
        raise typer.BadParameter(f"{output} is the file to convert; -o takes another name")
    if output.is_dir():
        raise typer.BadParameter(f"{output} is a folder; -o takes the name of a file")
    if output.exists() and not force:
        raise typer.BadParameter(f"{output} exists; --force replaces it")
    from uir.config.converting import convert as write_converted

    done = write_converted(old, output, tuple(plugin or ()), root)
    if as_json:
        found = {
            "replaced": done.replaced,
            "without_equivalent": done.refused,
            "problems": done.problems,
            "notes": done.notes,
        }
        print(json.dumps({"output": str(output), **found}))
    else:
        missing = f", {len(done.refused)} without an equivalent" if done.refused else ""
        print(f"{output}: {done.replaced} key{'s' * (done.replaced != 1)} replaced{missing}")
        for line in (*done.notes, *(f"without an equivalent: {text}" for text in done.refused), *done.problems):
            print(line, file=sys.stderr)
    return 2 if done.problems else 0
