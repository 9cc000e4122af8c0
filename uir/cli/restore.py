"""The command `uir restore`. Large packages are imported only when the command needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from uir.cli.arguments import JsonArgument, ModelArgument, PluginArgument


def restore(
    inputs: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Argument(help="Photographs, or folders of them."),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Folder to write to, or a file for one photograph."),
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
        typer.Option("--sweep", help="Restore with several values of a control: name=from:to:count, or name=a,b,c."),
    ] = None,
    show_controls: Annotated[
        bool, typer.Option("--controls", help="Show what can be set, and restore nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
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
    Example: uir restore datasets/demo/test -o restored --model experiments/nafnet_allinone_demo/models/net_g_latest.pth
    """
    from uir.inference.image_plan import plan_files

    plan = None
    if not show_controls:
        if not inputs:
            raise typer.BadParameter("name the photographs to restore, or a folder of them")
        if output is None:
            raise typer.BadParameter("name the folder to write to: -o FOLDER")
        plan = plan_files(inputs, output, sweep, overwrite)  # before anything is loaded
    from uir.inference.model_files import model_file

    file = model_file(model)
    from uir.inference.image_files import restore_planned
    from uir.inference.restorer import Restorer
    from uir.registry.plugins import load_plugin

    for spec in plugin or []:
        load_plugin(spec, named_in="--plugin")
    restorer = Restorer.from_pretrained(
        file, opt=opt, param_key=param_key, device=device, precision=precision, encoder=encoder, tile=_tile(tile),
        overlap=overlap,
    )  # fmt: skip
    if plan is None:
        _show_controls(restorer.controls, as_json)
        return None
    controls = {**_settings(settings or []), **({"code_from": str(code_from)} if code_from is not None else {})}
    outcome = restore_planned(restorer, plan, controls, max_pixels)
    print(json.dumps(outcome.as_dict()) if as_json else outcome.summary(plan.output))
    if outcome.failed:
        raise typer.Exit(1)
    return outcome


def _tile(text: str) -> int | Literal["auto"] | None:
    """The value of --tile."""
    if text in ("auto", "whole"):
        return "auto" if text == "auto" else None
    if not text.isdecimal():
        raise typer.BadParameter(f"--tile: expected a number of pixels, auto or whole, got '{text}'")
    return int(text)


def _settings(settings: list[str]) -> dict[str, str]:
    """`name=value`, as it is typed."""
    pairs = [setting.partition("=") for setting in settings]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise typer.BadParameter(f"--set: expected name=value, such as steps=4, got '{name}'")
    return {name: value for name, _, value in pairs}


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
