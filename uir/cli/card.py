"""The command `uir card`. Large packages are imported only when the command needs them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from uir.cli.arguments import JsonArgument, PluginArgument, load_plugins


def card(
    model: Annotated[str, typer.Argument(help="A file of weights, or a name or folder as for `uir restore --model`.")],
    plugin: PluginArgument = None,
    as_json: JsonArgument = False,
) -> dict[str, Any]:
    """Say what a file of weights is.

    Its networks and their arguments, the degradations that it knows, and the sha256 of its bytes. Of a file without a
    card, the network is recognised by its weights.

    \b
    Example: uir card uir-small
    """
    from uir.inference.describing import described_file, shown
    from uir.inference.model_files import model_file

    load_plugins(plugin)
    described = described_file(model_file(model))
    print(json.dumps(described, indent=1) if as_json else shown(described))
    return described
