"""The command `uir export`. Large packages are imported only when the command needs them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from uir.cli.arguments import JsonArgument, ModelArgument, PluginArgument, load_plugins, settings_of


def export(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write: .onnx, .pt2 (torch) or .safetensors.")
    ],
    model: ModelArgument = None,
    format: Annotated[
        Optional[Literal["onnx", "torch", "safetensors"]],  # noqa: UP045
        typer.Option("--format", help="Default by the ending of the file."),
    ] = None,
    opt: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-opt", "--opt", help="Option file, for a checkpoint that does not name its network."),
    ] = None,
    param_key: Annotated[str | None, typer.Option("--param_key", help="Weights to use: params or params_ema.")] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", help="Side in pixels, for programs that need one size; default any size."),
    ] = None,
    collapse: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--collapse",
            help="Fold a model of experts into a plain network (also .pth) for the degradation of this image.",
        ),
    ] = None,
    settings: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="With --collapse: a number of the degradation, such as blur_sigma=2.0."),
    ] = None,
    plugin: PluginArgument = None,
    as_json: JsonArgument = False,
) -> Any:
    """Write a trained network for other programs (ONNX, torch).

    ONNX and torch programs are compared with the network, and not written if they differ.

    \b
    Example: uir export -o published/net.onnx
    """
    from uir.inference.exporting import ENDINGS
    from uir.inference.exporting import export as run_export
    from uir.inference.model_files import model_file

    if settings and collapse is None:
        raise typer.BadParameter("--set: it needs --collapse IMAGE")
    if collapse is not None:
        return _collapsed(model, collapse, output, settings_of(settings or []), opt, param_key, size, plugin, as_json)
    by_ending = {ending: name for name, ending in ENDINGS.items()}
    chosen = format or by_ending.get(output.suffix)
    if chosen is None:
        raise typer.BadParameter(f"-o: expected a file that ends in {', '.join(by_ending)}, got '{output}'")
    load_plugins(plugin)
    written = run_export(model_file(model), output, chosen, opt, param_key, size)
    print(json.dumps(asdict(written)) if as_json else written)
    return written


def _collapsed(
    model: str | None,
    image: Path,
    output: Path,
    controls: dict[str, str],
    opt: Path | None,
    param_key: str | None,
    size: int | None,
    plugin: list[str] | None,
    as_json: bool,
) -> Any:
    """Fold a model of experts into a plain network."""
    from uir.inference.collapsing import collapse
    from uir.inference.model_files import model_file

    load_plugins(plugin)
    written = collapse(model_file(model), image, output, controls, opt, param_key, size)
    print(json.dumps(asdict(written)) if as_json else written)
    return written
