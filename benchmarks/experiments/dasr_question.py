"""Applies the rules of docs/dasr_question.md to the runs of options/ablation/dasr_question.yml.

It prints how well the encoder's code names five widths of a blur (a linear probe and the five nearest neighbours, with
and without subtracting each photograph's mean code), the PSNR of each cell, and the verdict.

    python benchmarks/experiments/dasr_question.py [--folder FOLDER] [--photographs DIR] [--record FILE]
        [--picture FILE]

With --record, finished runs are added to this file, and all runs of the file are judged and drawn.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping
from pathlib import Path

import torch
from _records import Record, add_to_record, rows_of, runs_of, seconds_of
from rich.table import Table
from torch import Tensor, nn

from uir.ablation.statistics import Interval, interval, paired
from uir.analysis.features_of import features_of
from uir.analysis.patches import DegradedPatches
from uir.analysis.probes import ProbeKind, probe_features
from uir.config.yaml_file import read_yaml
from uir.core.checkpoint import load_weights
from uir.core.images import list_images, read_rgb, to_tensor
from uir.core.progress import console
from uir.core.seeds import derive_seed
from uir.degradations.degrader import Degrader
from uir.registry.components import build_network

CONTRAST, ALONE, TRUE, SHUFFLED = "own_with_contrast", "own_without_contrast", "true_sigma", "shuffled"
CELLS = (CONTRAST, ALONE, TRUE, SHUFFLED)
WIDTHS = (0.2, 1.2, 2.0, 2.8, 4.0)  # of the kernel, in pixels of the large image: five classes
SCALE, PATCH = 4, 48
QUEUE, PHOTOGRAPHS = 2048, 272
GATE = math.log(1 + QUEUE / PHOTOGRAPHS)
SMALL_DB = 0.1
SEEDS = 3
KINDS: tuple[ProbeKind, ...] = ("linear", "knn")
BySeed = dict[int, float]


def contrastive_losses(run: Path) -> dict[int, float]:
    """The loss of the encoder's own stage by iteration, in nats: the log has it times `loss_weight`."""
    train = read_yaml(run / "train.yml")[0]["train"]
    stage = train["stages"][0]
    weight = {**train["contrastive_opt"], **stage.get("contrastive_opt", {})}.get("loss_weight", 1.0)
    logged = [row for row in rows_of(run) if "l_contrastive" in row and row["iter"] <= stage["iterations"]]
    return {row["iter"]: row["l_contrastive"] / weight for row in logged}


def at_the_end(losses: Mapping[int, float]) -> float:
    """The mean of the last tenth."""
    return statistics.fmean(loss for iteration, loss in losses.items() if iteration > 0.9 * max(losses))


def restoring_losses(run: Path) -> dict[int, float]:
    """The L1 loss of the restorer by its own iteration, in the last stage."""
    logged = {row["iter"]: row["l_pix"] for row in rows_of(run) if "l_pix" in row}
    start = sum(stage["iterations"] for stage in read_yaml(run / "train.yml")[0]["train"]["stages"][:-1])
    return {iteration - start: loss for iteration, loss in logged.items()}


def psnr(run: Path) -> float | None:
    """The PSNR after the last iteration; None while the run is not finished."""
    values = [row["metrics"]["psnr_y"] for row in rows_of(run) if "metrics" in row]
    return values[-1] if values else None


def widths_of(folder: Path) -> DegradedPatches:
    """The middle of each photograph with a blur of each width, reduced to [3, 48, 48]."""
    files, images = list_images(folder), []
    for file in files:
        image = to_tensor(read_rgb(file))
        top, left = ((size - PATCH * SCALE) // 2 for size in image.shape[1:])
        clean = image[:, top : top + PATCH * SCALE, left : left + PATCH * SCALE]
        for width in WIDTHS:
            degrader = Degrader({"type": "dasr_wang_iso", "scale": SCALE, "sigma": [width, width]}, SCALE)
            images.append(degrader.image(clean, derive_seed(0, "probe", file.name, str(width)))[0])
    return DegradedPatches(torch.stack(images), tuple(map(str, WIDTHS)), tuple(file.name for file in files))


def accuracies(encoder: nn.Module, patches: DegradedPatches) -> dict[str, float]:
    """Percent of patches of unseen photographs whose width is named, by probe, plain and centred."""
    codes: Tensor = features_of(encoder, patches.images)["vector"]
    of_photograph = codes.unflatten(0, (len(patches.photographs), len(patches.classes)))
    codes_by_name = {"plain": codes, "centred": (of_photograph - of_photograph.mean(1, keepdim=True)).flatten(0, 1)}
    return {
        f"{kind}, {level.level}": 100 * level.mean
        for kind in KINDS
        for level in probe_features(codes_by_name, patches, kind)
    }


def probed(run: Path, seed: int, patches: DegradedPatches) -> dict[str, dict[str, float]]:
    """The untrained and the trained encoder of a run."""
    torch.manual_seed(seed)
    encoder = build_network(read_yaml(run / "train.yml")[0]["network_e"])
    untrained = accuracies(encoder, patches)
    load_weights(encoder, run / "models" / "net_e_latest.pth")
    return {"untrained": untrained, "trained": accuracies(encoder, patches)}


def verdict(loss: float, probe: Interval | None, gain: Interval | None) -> str:
    """What the rules say."""
    finished = min(0 if value is None else value.count for value in (probe, gain))
    if probe is None or gain is None or finished < SEEDS:
        return f"{finished} of {SEEDS} seeds are finished; nothing follows yet"
    if loss >= GATE:
        return f"the gate is not passed: {loss:.2f} nats are not below {GATE:.2f}; nothing follows"
    if probe.low > 0 and gain.low > 0:
        return "gate passed; supported at this scale"
    if probe.low <= 0 and gain.high < SMALL_DB:
        return "gate passed; refuted at this scale"
    return "gate passed; open"


def said(value: Interval | None, digits: int) -> str:
    """A difference with its sign; bold only if its interval does not contain 0."""
    if value is None:
        return ""
    text = value.text(digits, signed=True)
    return f"**{text}**" if value.is_apart_from_zero else text


def probe_table(by_seed: Mapping[int, Mapping[str, Mapping[str, float]]]) -> tuple[Table, Interval | None]:
    """The probes, and trained minus untrained of the linear one without centring, which the rules ask for."""
    table, asked = Table("probe", "untrained, %", "trained, %", "difference"), None
    for name in next(iter(by_seed.values()))["trained"]:
        columns = {kind: {seed: run[kind][name] for seed, run in by_seed.items()} for kind in ("untrained", "trained")}
        difference = paired(columns["trained"], columns["untrained"])
        asked = difference if name == "linear, plain" else asked
        table.add_row(name, *(interval(list(v.values())).text(1) for v in columns.values()), said(difference, 1))
    return table, asked


def measured(folder: Path, photographs: Path) -> Record:
    """The finished runs of a folder: PSNR of all; of those with contrast the loss and the probes as well."""
    record: Record = {}
    patches: DegradedPatches | None = None
    for cell, seed, run in runs_of(folder):
        value = psnr(run)
        if value is None:
            continue
        values = {"psnr_y": value, "restoring": restoring_losses(run), "seconds": seconds_of(run)}
        if cell == CONTRAST:
            patches = patches or widths_of(photographs)
            losses = contrastive_losses(run)
            values |= {"nats": at_the_end(losses), "contrast": losses, "probes": probed(run, seed, patches)}
        record.setdefault(cell, {})[seed] = values
    return record


def draw(record: Record, file: Path) -> None:
    """The contrastive loss of each seed with the gate; the loss of restoring of each cell, the mean over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    drawn = [{seed for seed, run in runs_of_cell.items() if "restoring" in run} for runs_of_cell in record.values()]
    seeds = sorted(set.intersection(*drawn))  # with the same batches in all cells
    for seed in seeds:
        curve = {int(iteration): loss for iteration, loss in record[CONTRAST][seed]["contrast"].items()}
        left.plot(list(curve), list(curve.values()), linewidth=1, label=f"seed {seed}")
    left.axhline(GATE, color="black", linestyle="--", linewidth=1, label="gate")
    left.set(xlabel="iterations of the encoder alone", ylabel="contrastive loss, nats")
    for cell, runs_of_cell in record.items():
        curves = [runs_of_cell[seed]["restoring"] for seed in seeds]
        marks = sorted({int(iteration) for curve in curves for iteration in curve})
        means = [statistics.fmean(curve[str(mark)] for curve in curves if str(mark) in curve) for mark in marks]
        right.plot(marks, means, marker="o", markersize=3, label=cell)
    right.set(xlabel="iterations of restoring", ylabel="L1 loss of the training")
    for axes in (left, right):
        axes.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=90)


def main() -> None:
    """Read, probe, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("experiments/ablation/dasr_question"))
    parser.add_argument("--photographs", type=Path, default=Path("datasets/blind/test"))
    parser.add_argument("--record", type=Path, help="file of finished runs, to add to and to judge")
    parser.add_argument("--picture", type=Path, help="draw the losses of the record's runs into this file")
    arguments = parser.parse_args()
    record = measured(arguments.folder, arguments.photographs)
    if arguments.record:
        record = add_to_record(arguments.record, record)
    own = record.get(CONTRAST)
    if not own:
        raise SystemExit(f"{arguments.folder}: no run of {CONTRAST} is finished; uir ablate makes them")
    loss = statistics.fmean(run["nats"] for run in own.values())
    table, probe = probe_table({seed: run["probes"] for seed, run in own.items()})
    console.print(table)
    cells: dict[str, BySeed] = {
        cell: {seed: run["psnr_y"] for seed, run in record.get(cell, {}).items()} for cell in CELLS
    }
    table = Table("cell", "seeds", "PSNR of Y, dB", f"minus {ALONE}")
    for cell, values in cells.items():
        if values:
            difference = paired(values, cells[ALONE]) if cell != ALONE else None
            table.add_row(cell, str(len(values)), interval(list(values.values())).text(2), said(difference, 2))
    console.print(table)
    console.print(f"{TRUE} minus {SHUFFLED}: {said(paired(cells[TRUE], cells[SHUFFLED]), 2)} dB")
    gain = paired(cells[CONTRAST], cells[ALONE])
    if arguments.picture:
        draw(record, arguments.picture)
    console.print(f"contrastive loss {loss:.2f} nats, gate {GATE:.2f}: {verdict(loss, probe, gain)}")


if __name__ == "__main__":
    main()
