"""Testing: measures every test set of an option file, and prints one table, or one for each protocol."""

from __future__ import annotations

import logging
from pathlib import Path

from rich.table import Table

from uir.config.options import OptionFile
from uir.core.devices import pick_device
from uir.core.distributed import gathered, is_main
from uir.core.files import write_text
from uir.core.progress import console
from uir.data.building import evaluation_loaders
from uir.engine.evaluation import Evaluation, evaluate
from uir.engine.protocol_runs import Measurement, measurements_of, merged, noise_groups, set_noise
from uir.engine.run import open_run, seed_everything
from uir.engine.run_folder import check_start, run_lock
from uir.engine.tables import as_csv, as_latex, as_markdown, json_text, on_screen, print_tables, result_tables
from uir.metrics.building import Metric, SetMetric
from uir.metrics.observers import observers_of
from uir.models.building import build_model
from uir.registry import MODEL_REGISTRY
from uir.registry.components import signature_of

logger = logging.getLogger("uir")


def test(loaded: OptionFile, quiet: bool = False) -> list[Evaluation]:
    """Run the tests of an option file; the run's folder gets `metrics.json`, `.md`, `.csv`, `.tex`, and pictures.

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
    measurements = measurements_of(loaded)
    loaders = evaluation_loaders(loaded)
    if not loaders:
        raise ValueError(
            f"{loaded.file}: datasets: there is no test set; give a dataset a key that starts with test or val"
        )
    observers = observers_of(loaded)
    if val and val.protocols and signature_of(MODEL_REGISTRY.get(loaded.options.model_type)).takes_opt:
        raise ValueError(
            f"{loaded.file}: val.protocols: {loaded.options.model_type} is written like BasicSR's models and measures "
            "by itself; protocols need one of uir's methods, such as SRModel"
        )
    device = pick_device(loaded.options.num_gpu)
    folder = open_run(loaded, device, resuming=check_start(loaded))
    for reason in (text for each in measurements for text in each.missing.values()):
        logger.warning("%s", reason)
    seed_everything(loaded.seed)
    model = build_model(loaded, device)
    suffix = (val.suffix if val else None) or loaded.options.name
    evaluations = []
    for name, loader in loaders.items():
        logger.info("Testing %s...", name)
        parts: list[Evaluation] = []
        for group in noise_groups(loader, name, measurements):
            # Further pictures of other noise go to a folder of their own; observers see each dataset once.
            place = folder / "visualization" / (f"{name}_{group.noise}" if parts else name)

            def picture_file(stem: str, place: Path = place) -> Path:
                return place / f"{stem}_{suffix}.png"

            set_noise(loader, group.noise)
            parts.append(
                evaluate(
                    model,
                    loader,
                    name,
                    group.metrics(),
                    iteration=loaded.options.name,
                    image_file=picture_file if val and val.save_img else None,
                    measure_input=bool(val and val.measure_input),
                    controls=val.controls if val else None,
                    observe=[] if parts else [observer.watch(name, suffix) for observer in observers],
                )
            )
        evaluations.append(merged(parts))
    for observer in observers:
        observer.finish(folder / "visualization", suffix, evaluations)
    if not is_main():
        return evaluations
    tables = result_tables(evaluations, measurements)
    write_text(folder / "metrics.json", json_text(evaluations, tables))
    for ending, write in {"md": as_markdown, "csv": as_csv, "tex": as_latex}.items():
        write_text(folder / f"metrics.{ending}", write(tables))
    if not quiet:
        print_tables(tables, console)
    return evaluations


def results_table(
    evaluations: list[Evaluation], metrics: dict[str, Metric | SetMetric], title: str | None = None
) -> Table:
    """A table of the measurements, with input and restored side by side if both are known; see `on_screen`."""
    (table,) = result_tables(evaluations, [Measurement(metrics)])
    shown = on_screen(table)
    shown.title = title
    return shown
