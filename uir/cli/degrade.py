"""The command `uir degrade`. Large packages are imported only when the command needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from uir.cli.arguments import JsonArgument, PluginArgument, load_plugins


def degrade(
    inputs: Annotated[list[Path], typer.Argument(help="Clean images or folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    recipe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--recipe", help="Name of a degradation or test set, or a YAML file."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same files.")] = 0,
    scale: Annotated[int | None, typer.Option("--scale", help="Scale of a recipe that makes images smaller.")] = None,
    gt: Annotated[
        bool, typer.Option("--gt", help="Also write the clean images, in pairs with the degraded ones.")
    ] = False,
    records: Annotated[
        bool, typer.Option("--records/--no-records", help="Write manifest.json with the degradations of each image.")
    ] = True,
    sheet: Annotated[
        bool,
        typer.Option("--sheet", help="Instead, write pictures of the recipe, or of every op, at three severities."),
    ] = False,
    plugin: PluginArgument = None,
    as_json: JsonArgument = False,
) -> None:
    """Degrade clean photographs reproducibly.

    The same command gives the same files on every machine.

    \b
    Example: uir degrade datasets/demo/test -o degraded --recipe realesrgan --scale 4 --gt --seed 7
    """
    load_plugins(plugin)
    if sheet:
        if scale is not None or gt:
            raise typer.BadParameter("--scale and --gt cannot be used with --sheet, which writes only pictures")
        from uir.analysis.degradation_sheets import write_degradation_sheets

        written = [str(path) for path in write_degradation_sheets(inputs, output, recipe, seed)]
    elif recipe is None:
        raise typer.BadParameter("--recipe is missing; `uir list degradations` lists the names")
    else:
        from uir.degradations.degraded_files import degrade_files
        from uir.degradations.recipes import load_recipe

        files = degrade_files(inputs, output, load_recipe(recipe, scale, gt), seed=seed, records=records)
        written = [str(output / file.name) for file in files]
    images = f"{len(written)} image{'s' * (len(written) != 1)}"
    print(json.dumps(written) if as_json else f"{images} written to {output}")
