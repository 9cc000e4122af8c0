"""What several commands share: options, and the settings of the command line."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Optional

import typer


def with_underscores(name: str) -> str:
    """The name of an option as uir writes it; `--code-from` is read as `--code_from`."""
    return name.replace("-", "_")


SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "token_normalize_func": with_underscores}
"""Settings of the command and of each of its groups."""
PluginArgument = Annotated[Optional[list[str]], typer.Option("--plugin", help="Module or file to import first.")]  # noqa: UP045
ForceArgument = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--force_yml", help="Override options: train:ema_decay=0.999 name=x"),
]
ModelArgument = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--model", help="The trained network: a file (checkpoint), a folder, a name; default uir-small."),
]
JsonArgument = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def share_cores() -> None:
    """Let waiting threads sleep, unless the user says otherwise; it must be called before torch is imported.

    Restoring has many short pauses. A thread that waits actively for the next step takes a core from other programs,
    and on a busy machine from the thread that it waits for.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def loading() -> Iterator[None]:
    """Load packages without searching for garbage, and never search what was loaded.

    Modules live until the end, so the search finds nothing; with torch it takes a tenth of a second while it is loaded,
    and a third when the program ends.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load_plugins(plugins: Sequence[str] | None) -> None:
    """Load what `--plugin` names."""
    from uir.registry.plugins import load_plugin

    for spec in plugins or []:
        load_plugin(spec, named_in="--plugin")


def settings_of(settings: list[str]) -> dict[str, str]:
    """`name=value`, as it is typed."""
    pairs = [setting.partition("=") for setting in settings]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise typer.BadParameter(f"--set: expected name=value, such as steps=4, got '{name}'")
    return {name: value for name, _, value in pairs}
