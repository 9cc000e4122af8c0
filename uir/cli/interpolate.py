"""The command `uir interpolate`. Nothing heavy is imported before the command needs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer


def interpolate(
    first: Annotated[Path, typer.Argument(metavar="A", help="Checkpoint of a network.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Checkpoint of the same network, trained otherwise.")],
    alpha: Annotated[float, typer.Option("--alpha", help="Share of B: 0 gives A, 1 gives B.")] = 0.5,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="File to write; default A's name with _<alpha> beside A."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Write a network between two.

    \b
    Example: uir interpolate psnr.pth gan.pth --alpha 0.8

    Every weight is (1 - alpha) * A + alpha * B. Between a network trained for accuracy and the same one trained
    adversarially from there, the share decides how much detail is made up. Averages (params_ema) are interpolated
    where both files have them.
    """
    if not 0 <= alpha <= 1:
        raise typer.BadParameter(f"expected a share from 0 to 1, got {alpha}", param_hint="--alpha")
    target = output or first.with_name(f"{first.stem}_{alpha:g}.pth")
    if target.resolve() in (first.resolve(), second.resolve()):
        raise typer.BadParameter(f"{target} is one of the two networks; -o takes another name")
    if target.is_dir():
        raise typer.BadParameter(f"{target} is a folder; -o takes the name of a file")
    if target.exists() and not force:
        raise typer.BadParameter(f"{target} exists; --force replaces it")
    from uir.core.interpolation import interpolate_files

    groups = interpolate_files(first, second, alpha, target)
    if as_json:
        print(json.dumps({"output": str(target), "alpha": alpha, "written": groups}))
    else:
        print(f"{target}: {1 - alpha:g} of {first.name} and {alpha:g} of {second.name} ({', '.join(groups)})")
    return 0
