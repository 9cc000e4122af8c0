"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

PluginArgument = Annotated[Optional[list[str]], typer.Option("--plugin", help="Module or file to import first.")]  # noqa: UP045
JsonArgument = Annotated[bool, typer.Option("--json", help="Print JSON.")]
