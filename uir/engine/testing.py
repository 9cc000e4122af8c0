"""Testing: measures every test set of an option file, and prints one table."""

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
from uir.engine.run import open_run, seed_everything
from uir.engine.run_folder import check_start, run_lock
from uir.metrics.building import Metric, SetMetric
from uir.metrics.observers import observers_of
from uir.models.building import build_model

logger = logging.getLogger("uir")


def test(loaded: OptionFile, quiet: bool = False) -> list[Evaluation]:
    """Run the tests of an option file, and write `metrics.json`, `metrics.md` and pictures to the run's folder.

    Args:
        loaded: the checked file.
        quiet: print no table.

    Raises:
        ValueError: there is nothing to test on, or another run is working in the folder.
    """
    with run_lock(loaded):
        return _test(loaded, quiet)


test.__test__ = False  # type: ignore[attr-defined]  # a command, not a test of uir


def _test(loaded: OptionFile, quiet: bool) -> list[Evaluation]:
    loaded = loaded.with_seed(gathered(loaded.seed)[0])
    val = loaded.options.val
    metrics = build_metrics(val)
    loaders = evaluation_loaders(loaded)
    if not loaders:
        raise ValueError(
            f"{loaded.file}: datasets: there is no test set; give a dataset a key that starts with test or val"
        )
    observers = observers_of(loaded)
    device = pick_device(loaded.options.num_gpu)
    folder = open_run(loaded, device, resuming=check_start(loaded))
    seed_everything(loaded.seed)
    model = build_model(loaded, device)
    suffix = (val.suffix if val else None) or loaded.options.name
    evaluations = []
    for name, loader in loaders.items():
        logger.info("Testing %s...", name)
        place = folder / "visualization" / name

        def picture_file(stem: str, place: Path = place) -> Path:
            return place / f"{stem}_{suffix}.png"

        evaluations.append(
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
        observer.finish(folder / "visualization", suffix, evaluations)
    if not is_main():
        return evaluations
    _write(folder, evaluations, metrics)
    if not quiet:
        console.print(results_table(evaluations, metrics), crop=False)
    return evaluations


def results_table(
    evaluations: list[Evaluation], metrics: dict[str, Metric | SetMetric], title: str | None = None
) -> Table:
    """A table of the measurements, with input and restored side by side if both are known.

    Names and numbers are never cut: on a narrow screen, long names go on in the next line. Print it with `crop=False`.
    """
    table, rows = Table(title=title), _rows(evaluations)
    longest = max([7, *(len(row[0]) for row in rows)])
    table.add_column("dataset", overflow="fold", min_width=min(longest, 16))
    headings = ["images"]
    for name in _names(evaluations):
        described = metrics[name].describe(_channel(evaluations)) if name in metrics else name
        if any(name in item.inputs for item in evaluations):
            headings.append(f"input\n{described}")
        headings.append(f"restored\n{described}")
    for number, heading in enumerate(headings, start=1):
        words = [*heading.split(), *(row[number] for row in rows)]
        table.add_column(heading, justify="right", min_width=max(map(len, words)))
    for row in rows:
        table.add_row(*row)
    return table


def _channel(evaluations: list[Evaluation]) -> str | None:
    """What the images that were measured are, where one of the sets is not of colour images."""
    if not any(item.channel for item in evaluations):
        return None
    return " or ".join(dict.fromkeys(item.channel or "colour" for item in evaluations))


def _names(evaluations: list[Evaluation]) -> list[str]:
    return list(dict.fromkeys(name for item in evaluations for name in item.results))


def _rows(evaluations: list[Evaluation]) -> list[list[str]]:
    nonfinite = [name for item in evaluations for name in item.nonfinite]
    mean = Evaluation("mean", sum(item.images for item in evaluations), nonfinite=nonfinite)
    for name in _names(evaluations):
        for kind in ("results", "inputs"):
            values = [getattr(item, kind)[name] for item in evaluations if name in getattr(item, kind)]
            if values:
                getattr(mean, kind)[name] = sum(values) / len(values)
    rows = []
    for item in [*evaluations, mean] if len(evaluations) > 1 else evaluations:
        row = [item.dataset, f"{item.images}{f' ({len(item.nonfinite)} not finite)' if item.nonfinite else ''}"]
        for name in _names(evaluations):
            if any(name in other.inputs for other in evaluations):
                row.append(_number(item.inputs.get(name)))
            row.append(_number(item.results.get(name)))
        rows.append(row)
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 2 else f"{value:.2f}"


def _write(folder: Path, evaluations: list[Evaluation], metrics: dict[str, Metric | SetMetric]) -> None:
    described = {name: metric.describe(_channel(evaluations)) for name, metric in metrics.items()}
    content = {"metrics": described, "datasets": [asdict(item) for item in evaluations]}
    write_text(folder / "metrics.json", json.dumps(content, indent=2))
    header = ["dataset", "images"]
    for name in _names(evaluations):
        header += [f"input {name}"] * any(name in item.inputs for item in evaluations) + [f"restored {name}"]
    lines = [header, ["---"] * len(header), *_rows(evaluations)]
    notes = "\n".join(f"- {name}: {text}" for name, text in described.items())
    write_text(folder / "metrics.md", "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{notes}\n")
