"""Testing: every test set of an option file, one table."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from uir.config.options import OptionFile
from uir.core.devices import pick_device
from uir.core.distributed import gathered, is_main
from uir.core.files import write_text
from uir.core.progress import console
from uir.data.building import evaluation_loaders
from uir.engine.evaluation import Evaluation, build_metrics, evaluate
from uir.engine.run import check_starting_files, open_run, seed_everything
from uir.metrics.building import Metric, SetMetric
from uir.metrics.observers import observers_of
from uir.models.building import build_model

logger = logging.getLogger("uir")


def test(loaded: OptionFile, quiet: bool = False) -> list[Evaluation]:
    """Test as the option file says; writes `metrics.json`, `metrics.md` and the pictures to the run's folder.

    Args:
        loaded: the checked file.
        quiet: print no table.
    """
    loaded = loaded.with_seed(gathered(loaded.seed)[0])
    val = loaded.options.val
    metrics = build_metrics(val)
    loaders = evaluation_loaders(loaded)
    if not loaders:
        raise ValueError(
            f"{loaded.file}: datasets: there is none to test on; give one a key that starts with test or val"
        )
    observers = observers_of(loaded)
    device = pick_device(loaded.options.num_gpu)
    check_starting_files(loaded)
    folder = open_run(loaded, device, resuming=False)
    seed_everything(loaded.seed)
    model = build_model(loaded, device)
    suffix = (val.suffix if val else None) or loaded.options.name
    found = []
    for name, loader in loaders.items():
        logger.info("Testing %s...", name)
        place = folder / "visualization" / name

        def picture_file(stem: str, place: Path = place) -> Path:
            return place / f"{stem}_{suffix}.png"

        found.append(
            evaluate(
                model,
                loader,
                name,
                metrics,
                iteration=loaded.options.name,
                image_file=picture_file if val and val.save_img else None,
                measure_input=bool(val and val.measure_input),
                controls=val.controls if val else None,
                observe=[observer.watch(name, suffix) for observer in observers],
            )
        )
    for observer in observers:
        observer.finish(folder / "visualization", suffix, found)
    if not is_main():
        return found
    _write(folder, found, metrics)
    if not quiet:
        console.print(results_table(found, metrics))
    return found


test.__test__ = False  # type: ignore[attr-defined]  # a command, not a test of uir


def results_table(found: list[Evaluation], metrics: dict[str, Metric | SetMetric], title: str | None = None) -> Table:
    """A table of what was measured, input and restored side by side where both are known."""
    table = Table(title=title)
    table.add_column("dataset")
    table.add_column("images", justify="right")
    for name in _names(found):
        described = metrics[name].describe(_channel(found)) if name in metrics else name
        if any(name in item.inputs for item in found):
            table.add_column(f"input\n{described}", justify="right")
        table.add_column(f"restored\n{described}", justify="right")
    for row in _rows(found):
        table.add_row(*row)
    return table


def _channel(found: list[Evaluation]) -> str | None:
    """What the images that were measured are, where one of the sets is not of colour images."""
    if not any(item.channel for item in found):
        return None
    return " or ".join(dict.fromkeys(item.channel or "colour" for item in found))


def _names(found: list[Evaluation]) -> list[str]:
    return list(dict.fromkeys(name for item in found for name in item.results))


def _rows(found: list[Evaluation]) -> list[list[str]]:
    mean = Evaluation("mean", sum(item.images for item in found))
    for name in _names(found):
        for kind in ("results", "inputs"):
            values = [getattr(item, kind)[name] for item in found if name in getattr(item, kind)]
            if values:
                getattr(mean, kind)[name] = sum(values) / len(values)
    rows = []
    for item in [*found, mean] if len(found) > 1 else found:
        row = [item.dataset, str(item.images)]
        for name in _names(found):
            if any(name in other.inputs for other in found):
                row.append(_number(item.inputs.get(name)))
            row.append(_number(item.results.get(name)))
        rows.append(row)
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 2 else f"{value:.2f}"


def _write(folder: Path, found: list[Evaluation], metrics: dict[str, Metric | SetMetric]) -> None:
    described = {name: metric.describe(_channel(found)) for name, metric in metrics.items()}
    content = {"metrics": described, "datasets": [asdict(item) for item in found]}
    write_text(folder / "metrics.json", json.dumps(content, indent=2))
    header = ["dataset", "images"]
    for name in _names(found):
        header += [f"input {name}"] * any(name in item.inputs for item in found) + [f"restored {name}"]
    lines = [header, ["---"] * len(header), *_rows(found)]
    notes = "\n".join(f"- {name}: {text}" for name, text in described.items())
    write_text(folder / "metrics.md", "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{notes}\n")
