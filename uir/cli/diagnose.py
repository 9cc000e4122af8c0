"""The command `uir diagnose`. Large packages are imported only when the command needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from uir.cli.arguments import JsonArgument, ModelArgument, PluginArgument, load_plugins, loading, share_cores


def diagnose(
    inputs: Annotated[list[Path], typer.Argument(help="Photographs, or folders of them.")],
    model: ModelArgument = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, mps; default the best available.")] = None,
    plugin: PluginArgument = None,
    as_json: JsonArgument = False,
) -> Any:
    """Say which degradation photographs have, and how sure that is.

    The classifier is the one that was trained with a restorer: `net_dc_*` beside `net_g_*`, or in the same file.

    \b
    Example: uir diagnose datasets/demo/test --model experiments/my_run/models/net_g_latest.pth
    """
    share_cores()
    with loading():
        from uir.inference.diagnosed_files import diagnose_files
        from uir.inference.model_files import model_file
        from uir.inference.restorer import Restorer

    load_plugins(plugin)
    report = diagnose_files(Restorer.from_pretrained(model_file(model), device=device), inputs)
    print(json.dumps(report.as_dict(), indent=1) if as_json else report.table())
    if report.failed:
        raise typer.Exit(1)
    return report
