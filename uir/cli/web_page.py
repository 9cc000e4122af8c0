"""The command `uir app`. Large packages are imported only when the command needs them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from uir.cli.arguments import PluginArgument, load_plugins, share_cores


def web_page(
    model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--model", help="A trained network: a file, a folder, a name; again for more to choose from."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; 0.0.0.0 lets others in the network use the page.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Default the first free one from 7860 on.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, mps; default the best available.")] = None,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Requests that can wait; others are refused.")] = 32,
    max_upload: Annotated[float, typer.Option("--max_upload", min=0.001, help="Largest file in MB.")] = 256,
    max_files: Annotated[
        int, typer.Option("--max_files", min=1, help="Files kept at a time; further uploads are refused.")
    ] = 1000,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max_pixels", min=1, help="Refuse larger images; default UIR_MAX_PIXELS of the environment, or 200000000."
        ),
    ] = None,
    keep: Annotated[float, typer.Option("--keep", min=1, help="Seconds until files are removed.")] = 3600,
    share: Annotated[
        bool, typer.Option("--share", help="Make a public address, through the servers of gradio.")
    ] = False,
    plugin: PluginArgument = None,
) -> Any:
    """Restore photographs in a browser.

    \b
    Example: uir app
    """
    share_cores()
    from uir.inference.model_files import model_file

    files = [model_file(name) for name in model or (None,)]
    from uir.app.serving import serving
    from uir.inference.restorer import Restorer

    load_plugins(plugin)
    loaded = [Restorer.from_pretrained(file, device=device) for file in files]
    restorers = dict(zip(page_names(files), loaded, strict=True))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with serving(
        restorers, host=host, port=port, queue=queue, max_upload=max_upload, max_files=max_files,
        max_pixels=max_pixels, keep=keep, share=share,
    ) as address:  # fmt: skip
        print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
        stop.wait()


def page_names(files: Sequence[Path]) -> list[str]:
    """A name for each model, without the folders of this machine; a training's file gets the name of its run."""
    names: list[str] = []
    for file in files:
        run = file.parent.parent if file.parent.name == "models" else file.parent
        name = f"{run.name}, {file.stem}" if file.stem.startswith("net_") else file.stem
        number = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({number + 1})" if number else name)
    return names
