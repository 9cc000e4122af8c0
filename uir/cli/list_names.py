"""The command `uir list`. Large packages are imported only when the command needs them."""

from __future__ import annotations

import json
from typing import Annotated, Literal, Optional

import typer

from uir.cli.arguments import JsonArgument, PluginArgument, load_plugins


def list_names(
    kind: Annotated[
        Optional[  # noqa: UP045
            Literal[
                "archs",
                "models",
                "losses",
                "metrics",
                "datasets",
                "degradations",
                "test_sets",
                "observers",
                "predictors",
                "strategies",
                "vectorisers",
                "modulators",
                "encoders",
                "optimizers",
                "protocols",
                "schedulers",
                "weights",
            ]
        ],
        typer.Argument(help="Kind of names; default every registry."),
    ] = None,
    plugin: PluginArgument = None,
    as_json: JsonArgument = False,
) -> None:
    """List every name that an option file can use.

    Each name has its origin (uir, basicsr or a plugin) and the packages whose class of that name it hides (shadows).

    \b
    Example: uir list degradations
    """
    from dataclasses import asdict

    from uir.cli.listing import entries_of, shown_with

    load_plugins(plugin)
    entries_by_kind = {name: entries_of(name) for name in shown_with(kind)}
    if as_json:
        print(
            json.dumps(
                {name: [asdict(entry) for entry in entries] for name, entries in entries_by_kind.items()}, indent=2
            )
        )
        return
    from rich.console import Console
    from rich.table import Table

    for name, entries in entries_by_kind.items():
        table = Table(
            "name", "origin", "shadows", "what it is", title=name, title_justify="left", box=None, pad_edge=False
        )
        for entry in entries:
            table.add_row(entry.name, entry.origin, ", ".join(entry.shadows), entry.summary)
        Console().print(table)
