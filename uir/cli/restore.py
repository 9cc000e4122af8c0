"""The command `uir restore`. Large packages are imported only when the command needs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from uir.cli.arguments import (
    JsonArgument,
    ModelArgument,
    PluginArgument,
    load_plugins,
    loading,
    settings_of,
    share_cores,
)


def restore(
    inputs: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Argument(help="Photographs, folders or patterns of them; - reads one from standard input."),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Folder to write to, or a file for one photograph; - is standard output."),
    ] = None,
    model: ModelArgument = None,
    opt: Annotated[
        Path | None,
        typer.Option("-opt", "--opt", help="Option file, for a checkpoint that does not name its network."),
    ] = None,
    param_key: Annotated[
        str | None,
        typer.Option(
            "--param_key", help="Weights to use: params, or params_ema, their average (default if there is one)."
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"],
        typer.Option("--precision", help="Bits of the numbers: 32, or 16 to save memory and time on a GPU."),
    ] = "fp32",
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, mps; default the best available.")] = None,
    tile: Annotated[
        str, typer.Option("--tile", help="Side of tiles in pixels; auto: as large as the memory allows; whole: none.")
    ] = "auto",
    overlap: Annotated[
        int | None,
        typer.Option("--overlap", help="Pixels that neighbouring tiles share; default 64, or half the tile."),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option("--encoder", help="Encoder of a network with a degradation code; default net_e_* beside net_g_*."),
    ] = None,
    code_from: Annotated[
        Path | None,
        typer.Option("--code_from", help="Restore with the degradation code of this image instead of the own one."),
    ] = None,
    settings: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="A control of the method, as name=value, such as steps=4; see --controls."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep",
            help="Restore with several values of a control, name=from:to:count or name=a,b,c; a picture shows all.",
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option("--strength", help="Short for --set strength=..., from 0 to 1, where a model has this control."),
    ] = None,
    show_controls: Annotated[
        bool, typer.Option("--controls", help="Show what can be set, and restore nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out photographs whose results are there.")] = False,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max_pixels", min=1, help="Refuse larger images; default UIR_MAX_PIXELS of the environment, or 200000000."
        ),
    ] = None,
    plugin: PluginArgument = None,
    as_json: JsonArgument = False,
) -> Any:
    """Restore photographs with a trained network.

    \b
    Example: uir restore datasets/demo/test -o restored
    """
    if not show_controls:
        if not inputs:
            raise typer.BadParameter("name the photographs to restore, or a folder of them")
        if output is None:
            raise typer.BadParameter("name the folder to write to: -o FOLDER")
    share_cores()
    is_stream = _is_stream(inputs or [], output)
    short = {"code_from": None if code_from is None else str(code_from), "strength": strength}
    controls = {**settings_of(settings or []), **{name: value for name, value in short.items() if value is not None}}
    with loading():
        from uir.core.distributed import gathered, is_main, processes
        from uir.inference.image_files import restore_bytes, restore_planned
        from uir.inference.image_plan import plan_files
        from uir.inference.model_files import model_file
        from uir.inference.restorer import Restorer
        from uir.inference.tiling import tile_named

    with processes("none", "cpu" if device == "cpu" else None):
        plan = None
        if not show_controls and not is_stream and output is not None:  # before the networks are loaded
            plan = plan_files(inputs or [], output, sweep, overwrite, resume) if is_main() else None
            plan = gathered(plan)[0]  # one plan for all processes: the files that they write must not change it
        file = model_file(model)
        load_plugins(plugin)
        restorer = Restorer.from_pretrained(
            file, opt=opt, param_key=param_key, device=device, precision=precision, encoder=encoder,
            tile=tile_named(tile), overlap=overlap,
        )  # fmt: skip
        if show_controls:
            _show_controls(restorer.controls, as_json)
            return None
        if plan is None:
            sys.stdout.buffer.write(restore_bytes(restorer, sys.stdin.buffer.read(), controls, max_pixels))
            return None
        outcome = restore_planned(restorer, plan, controls, max_pixels)
        main_process = is_main()
    if main_process:
        print(json.dumps(outcome.as_dict()) if as_json else outcome.summary(plan.output))
    if outcome.failed:
        raise typer.Exit(1)
    return outcome


def _is_stream(inputs: list[Path], output: Path | None) -> bool:
    """Whether one photograph is read from standard input and written to standard output."""
    reads, writes = [str(item) for item in inputs].count("-"), str(output) == "-"
    if reads == 0 and not writes:
        return False
    if reads != 1 or len(inputs) != 1 or not writes:
        raise typer.BadParameter("- stands for standard input and output, both at once: uir restore - -o - < in > out")
    return True


def _show_controls(controls: tuple[Any, ...], as_json: bool) -> None:
    rows = [
        {"name": c.name, "takes": c.range, "default": c.default if c.kind != "image" else None, "help": c.help}
        for c in controls
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        default = f" (default {row['default']})" if row["default"] is not None else ""
        print(f"{row['name']}: {row['takes']}{default}. {row['help']}")
