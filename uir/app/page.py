"""The web page: a photograph in, its diagnosis, before and after, and the restored file."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from uir.app.gradio_parts import Page, gr
from uir.app.work import chosen_controls, look_at_upload, restore_upload
from uir.core.environment import problem_of_machine
from uir.core.images import READ_EXTENSIONS, encode_pages
from uir.inference.controls import Control
from uir.inference.restorer import Restorer
from uir.inference.tiling import tile_named

KINDS = sorted(READ_EXTENSIONS)
TILES = (128, 256, 512, 1024, 2048)
LONGEST_TEXT = 2000
_TITLE = "# Restore a photograph\nIt stays on the machine that runs this page, and is removed after a while."
_NO_CLASSIFIER = "This model has no classifier of degradations."
_WORK = "work"  # all events that compute share one place, so that one runs at a time


def build_page(restorers: Restorer | Mapping[str, Restorer], *, queue: int = 32, max_pixels: int | None = None) -> Any:
    """Build the page.

    Args:
        restorers: the models to choose from, by the name that the page shows.
        queue: how many requests can wait; further ones are refused.
        max_pixels: of a photograph, as for `check_size`.

    Returns:
        A `gradio.Blocks`; `uir.app.serving.serving` serves it.

    Raises:
        ImportError: gradio is not installed.
        ValueError: there is no model.
    """
    models = {"model": restorers} if isinstance(restorers, Restorer) else dict(restorers)
    if not models:
        raise ValueError("the page needs a model: build_page({'name': restorer})")
    first = next(iter(models))
    with Page(title="uir", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(_TITLE)
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                picture = gr.File(label="Photograph", file_types=KINDS, elem_id="photograph", height=140)
                model = gr.Dropdown(list(models), value=first, label="Model", elem_id="model")
                button = gr.Button("Restore", variant="primary", elem_id="restore")
                diagnosis = gr.Label(label="Diagnosis", elem_id="diagnosis")
                tile = gr.Dropdown(_tiles(models), value=_tile_text(models[first]), label="Tile", elem_id="tile",
                                   info="Side of the squares in which a large image is restored.")  # fmt: skip
            with gr.Column(scale=2, min_width=480):
                slider = gr.ImageSlider(
                    label="Before | after", interactive=False, max_height=900, elem_id="slider",
                    buttons=["fullscreen"],
                )  # fmt: skip
                download = gr.DownloadButton("Download", interactive=False, elem_id="download")
                text = gr.Markdown(label="Notes", elem_id="text")
                groups, inputs = _settings(models)
        work = _Work(models, max_pixels)
        looked_at = ([picture, model], [slider, diagnosis, download, text])
        of_model = ([model], [tile, *groups])
        settled: dict[str, Any] = {"concurrency_id": _WORK, "concurrency_limit": 1}
        gr.on([picture.upload, picture.clear], work.look, *looked_at, api_name="diagnose", **settled)
        model.change(work.choose, *of_model, api_visibility="private", queue=False).then(
            work.look, *looked_at, api_visibility="private", **settled
        )
        button.click(
            work.restore, [picture, model, tile, *inputs], [slider, diagnosis, download, text], api_name="restore",
            **settled,
        )  # fmt: skip
    return page.queue(max_size=queue, api_open=False)


class _Work:
    """The events of the page.

    Args:
        models: by name.
        max_pixels: as for `build_page`.
    """

    def __init__(self, models: Mapping[str, Restorer], max_pixels: int | None) -> None:
        self.models, self.max_pixels = models, max_pixels
        self.lock = threading.Lock()  # a network restores one image at a time, however the page is called

    def look(self, picture: str | None, model: str) -> tuple[Any, Any, Any, Any]:
        """Show and diagnose a photograph."""
        nothing = gr.DownloadButton("Download", value=None, interactive=False)
        if picture is None:
            return None, None, nothing, ""
        restorer = self.models[model]
        image, diagnosis = self._done(lambda: look_at_upload(restorer, Path(picture), self.max_pixels))
        note = "" if diagnosis is not None else _NO_CLASSIFIER
        (file,) = self._done(lambda: _files(picture, image))
        return (file, file), dict(diagnosis.probabilities) if diagnosis else None, nothing, note

    def restore(self, picture: str | None, model: str, tile: str, *values: Any) -> tuple[Any, Any, Any, Any]:
        """Restore a photograph; `values` are those of the controls of all models."""
        if picture is None:
            raise gr.Error("Choose a photograph first.", print_exception=False)
        start = sum(len(other.controls) for other in list(self.models.values())[: list(self.models).index(model)])
        restorer = self.models[model]
        own = values[start : start + len(restorer.controls)]
        folder = _folder_beside(picture)

        def work() -> Any:
            tiled = restorer if tile == _tile_text(restorer) else restorer.with_tile(tile_named(tile))
            controls = chosen_controls(restorer.controls, own)
            return restore_upload(tiled, Path(picture), folder, controls, self.max_pixels)

        done = self._done(work)
        button = gr.DownloadButton(f"Download {done.file.name}", value=str(done.file), interactive=True)
        bars = dict(done.diagnosis.probabilities) if done.diagnosis else None
        files = self._done(lambda: _files(picture, done.before, done.after))
        return files, bars, button, done.text if bars else f"{done.text}. {_NO_CLASSIFIER}"

    def choose(self, model: str) -> list[Any]:
        """Show the settings of a model."""
        restorer = self.models[model]
        tiles = gr.Dropdown(value=_tile_text(restorer))
        return [tiles, *(gr.Group(visible=name == model) for name in self.models)]

    def _done(self, work: Callable[[], Any]) -> Any:
        """Do it; what a user can put right, or what the machine lacks, is said on the page."""
        try:
            with self.lock:
                return work()
        except ValueError as error:
            raise gr.Error((str(error).splitlines() or ["no reason"])[0], print_exception=False) from None
        except FileNotFoundError:
            raise gr.Error("The photograph was removed after a while; choose it again.") from None
        except (OSError, MemoryError, RuntimeError) as error:
            problem = problem_of_machine(error)
            if problem is None:
                raise
            raise gr.Error(problem) from None


def _folder_beside(picture: str) -> Path:
    """A new folder beside an upload, where gradio may serve it."""
    return Path(tempfile.mkdtemp(dir=Path(picture).parents[1]))


def _files(picture: str, *images: np.ndarray) -> tuple[Path, ...]:
    """Pictures for the screen, each in a new file beside the upload.

    From an array gradio would make a file whose name comes from the pixels. It would write it again for each visitor
    with the same photograph, also while a browser reads it, which would then get a part.
    """
    folder = _folder_beside(picture)
    files = tuple(folder / f"{number}.png" for number in range(len(images)))
    for file, image in zip(files, images, strict=True):
        file.write_bytes(encode_pages(file, [image]))
    return files


def _tiles(models: Mapping[str, Restorer]) -> list[str]:
    """The tiles to choose from; those that the models were made with are among them."""
    sides = {*map(str, TILES), *(_tile_text(restorer) for restorer in models.values())} - {"auto", "whole"}
    return ["auto", "whole", *sorted(sides, key=int)]


def _tile_text(restorer: Restorer) -> str:
    return "whole" if restorer.tile is None else str(restorer.tile)


def _settings(models: Mapping[str, Restorer]) -> tuple[list[Any], list[Any]]:
    """A group for each model, of which one is visible, and the inputs of all groups."""
    groups, inputs = [], []
    for number, (name, restorer) in enumerate(models.items()):
        with gr.Group(visible=number == 0) as group:
            if restorer.controls:
                with gr.Accordion(f"Settings of {name}", open=False), gr.Row():
                    inputs += [_input(control) for control in restorer.controls]
        groups.append(group)
    return groups, inputs


def _input(control: Control) -> Any:
    """The input of a control; without a default it is empty."""
    shared: dict[str, Any] = {"label": control.name, "elem_id": f"control-{control.name}", "min_width": 260}
    if control.kind == "image":
        return gr.File(label=f"{control.name}: {control.help}", file_types=KINDS, height=120)
    shared["info"] = control.help
    if control.kind == "choice":
        return gr.Dropdown(list(control.choices), value=control.default, **shared)
    if control.kind == "text":
        return gr.Textbox(control.default or "", max_length=LONGEST_TEXT, **shared)
    whole = control.kind == "int"
    if control.low is not None and control.high is not None and control.default is not None:
        step = 1 if whole else (control.high - control.low) / 100
        return gr.Slider(control.low, control.high, value=control.default, step=step, **shared)
    precision = 0 if whole else None
    return gr.Number(control.default, minimum=control.low, maximum=control.high, precision=precision, **shared)
