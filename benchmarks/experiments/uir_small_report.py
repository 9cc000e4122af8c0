"""Scores a released model on test sets: against doing nothing and against classics, with pictures and a diagnosis.

The sets are those of an option file, options/test/uir_small.yml. Every set is compared with the classics for its
degradation (see classics.py). PSNR and SSIM are by one protocol, with 95 % bootstrap intervals over the images of what
the model gains. Every scoring is added to a log with the model's digest, so that it shows how often test sets were
looked at; choices are made on the training's own split, never here.

    python benchmarks/experiments/uir_small_report.py [--model uir-small] [--folder FOLDER] [--sets CBSD68 ...]

It writes report.md (tables), report.json (each image) and sheet.jpg into the folder, and adds a line to
docs/uir_small_scorings.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from classics import CLASSICS
from torch import Tensor

import uir
from uir.analysis.calibration import calibration_error
from uir.config.options import load_options
from uir.core.files import write_text
from uir.core.progress import console
from uir.core.sheets import write_sheet
from uir.data.building import evaluation_loaders
from uir.engine.intervals import interval, resampled
from uir.metrics.psnr_metric import psnr
from uir.metrics.ssim_metric import ssim

ROOT = Path(__file__).resolve().parents[2]
FOR_LABEL = {
    "noise": ("non-local means", "wavelet"), "rain": ("median", "non-local means"), "haze": ("dark channel", "CLAHE"),
    "low_light": ("CLAHE",), "motion_blur": ("unsharp mask",), "defocus_blur": ("unsharp mask",),
    "jpeg": ("non-local means", "median"), "clean": (), "underwater": ("CLAHE",),
}  # fmt: skip
NOTHING, MODEL = "nothing", "uir-small"


@dataclass
class Scored:
    """A test set: PSNR and SSIM of each image by method, the diagnoses, and the pictures of one image.

    Attributes:
        label: what degraded it.
        psnr, ssim: values of each image, by method.
        named: how often each class was named.
        sure: the probability of the named class, and whether it is right, for each image.
        pictures: degraded, by the first classic, by the model and clean, of the image with the median gain.
        seconds: of the model for each image.
    """

    label: str
    psnr: dict[str, list[float]] = field(default_factory=dict)
    ssim: dict[str, list[float]] = field(default_factory=dict)
    named: Counter[str] = field(default_factory=Counter)
    sure: list[tuple[float, bool]] = field(default_factory=list)
    pictures: tuple[np.ndarray, ...] = ()
    seconds: list[float] = field(default_factory=list)

    @property
    def gains(self) -> list[float]:
        """PSNR of the model minus that of the degraded image."""
        return [ours - before for ours, before in zip(self.psnr[MODEL], self.psnr[NOTHING], strict=True)]

    def add(self, method: str, restored: Tensor, gt: Tensor, protocol: str) -> None:
        """Measure one image, [1, 3, H, W]."""
        self.psnr.setdefault(method, []).append(float(psnr(restored, gt, protocol=protocol)))
        self.ssim.setdefault(method, []).append(float(ssim(restored, gt, protocol=protocol)))


def score(loader: Any, label: str, restorer: uir.Restorer, protocol: str, largest: int) -> Scored:
    """All methods on one set; images with a longer side than `largest` are measured in the middle."""
    result = Scored(label)
    for batch in loader:
        lq, gt = (_middle(batch[key], largest) for key in ("lq", "gt"))
        image = _array(lq)
        start = time.perf_counter()
        restored = {MODEL: restorer(image)}
        result.seconds.append(time.perf_counter() - start)
        restored |= {name: CLASSICS[name](image) for name in FOR_LABEL.get(label, ())}
        result.add(NOTHING, lq, gt, protocol)
        for name, picture in restored.items():
            tensor = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
            result.add(name, tensor, gt, protocol)
        if restorer.diagnoser is not None:
            diagnosis = restorer.diagnose(image)
            result.named[diagnosis.label] += 1
            result.sure.append((diagnosis.confidence, diagnosis.label == label))
    # All pictures of a set would not fit into memory, so the one in the middle is made again.
    sample = loader.dataset[int(np.argsort(result.gains)[len(result.gains) // 2])]
    image, clean = (_array(_middle(sample[key][None], largest)) for key in ("lq", "gt"))
    classic = next((CLASSICS[name] for name in FOR_LABEL.get(label, ())), None)
    result.pictures = (image, classic(image) if classic else image, restorer(image), clean)
    return result


def _array(image: Tensor) -> np.ndarray:
    """[1, 3, H, W] to [H, W, 3]."""
    return image[0].permute(1, 2, 0).contiguous().numpy()


def _middle(image: Tensor, largest: int) -> Tensor:
    height, width = (min(size, largest) for size in image.shape[-2:])
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]


def finite_mean(values: Sequence[float]) -> str:
    """The mean; equal images have an infinite PSNR and are counted apart."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return "∞"
    equal = len(values) - len(finite)
    return f"{statistics.fmean(finite):.2f}" + (f" ({equal} equal)" if equal else "")


def table(results: Mapping[str, Scored]) -> str:
    """PSNR and SSIM of doing nothing, the model and the classics; in bold where the model is best."""
    lines = ["| set | images | nothing | uir-small | gain [95 %] | classics |", "|---|---|---|---|---|---|"]
    for name, result in results.items():
        before, ours = finite_mean(result.psnr[NOTHING]), finite_mean(result.psnr[MODEL])
        span = ""
        if all(map(np.isfinite, result.gains)):
            low, high = interval(resampled(result.gains, name)) or (result.gains[0], result.gains[0])
            span = f"{statistics.fmean(result.gains):+.2f} [{low:+.2f}, {high:+.2f}]"
        others = [other for other in result.psnr if other not in (NOTHING, MODEL)]
        said = "; ".join(
            f"{other} {finite_mean(result.psnr[other])} / {finite_mean(result.ssim[other])}" for other in others
        )
        values = {other: statistics.fmean(result.psnr[other]) for other in (NOTHING, *others)}
        best = statistics.fmean(result.psnr[MODEL]) > max(values.values())
        shown = f"{ours} / {finite_mean(result.ssim[MODEL])}"
        lines.append(
            f"| {name} | {len(result.gains)} | {before} / {finite_mean(result.ssim[NOTHING])} | "
            f"{f'**{shown}**' if best else shown} | {span} | {said} |"
        )
    return "\n".join(lines) + "\n"


def confusion(results: Mapping[str, Scored], names: Sequence[str]) -> str:
    """How often each class was named, in percent of a set's images; and how far to trust the probabilities."""
    if not names:
        return "The model has no classifier.\n"
    lines = ["| set | truth | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for name, result in results.items():
        shares = {label: 100 * result.named[label] / sum(result.named.values()) for label in names}
        cells = [f"**{share:.0f}**" if label == result.label else f"{share:.0f}" for label, share in shares.items()]
        lines.append(f"| {name} | {result.label} | " + " | ".join(cells) + " |")
    known = [pair for result in results.values() if result.label in names for pair in result.sure]
    hits = statistics.fmean(right for _, right in known)
    said = statistics.fmean(sure for sure, _ in known)
    error = calibration_error(*(torch.tensor(column) for column in zip(*known, strict=True)))
    lines += ["", f"Named right: {100 * hits:.1f} % of {len(known)} images; mean probability of what was named: "
              f"{100 * said:.1f} %; expected calibration error (10 bins): {100 * error:.1f} %."]  # fmt: skip
    return "\n".join(lines) + "\n"


def sheet(results: Mapping[str, Scored], file: Path) -> None:
    """One image of each set: input, the first classic (the input, where there is none), the model, the ground truth."""
    rows = [(name, result.pictures) for name, result in results.items()]
    write_sheet(file, rows, ("input", "classic", "uir-small", "ground truth"), width=300)


def main() -> None:
    """Score, write and log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="uir-small", help="a name, a file or a folder, as for Restorer.from_pretrained"
    )
    parser.add_argument("--opt", type=Path, default=ROOT / "options/test/uir_small.yml")
    parser.add_argument("--sets", nargs="+", help="only these, by the beginning of their name")
    parser.add_argument("--protocol", default="promptir")
    parser.add_argument(
        "--largest", type=int, default=1280, help="longest side; larger images are measured in the middle"
    )
    parser.add_argument("--folder", type=Path, default=Path("experiments/uir_small_report"))
    parser.add_argument("--log", type=Path, default=ROOT / "docs/uir_small_scorings.jsonl")
    arguments = parser.parse_args()
    loaded = load_options(arguments.opt, is_train=False)
    restorer = uir.Restorer.from_pretrained(arguments.model)
    sections = [section.model_dump() for section in loaded.options.datasets.values()]
    labels = {section["name"]: section.get("label", "") for section in sections}
    results: dict[str, Scored] = {}
    for name, loader in evaluation_loaders(loaded).items():
        if arguments.sets and not any(name.startswith(wanted) for wanted in arguments.sets):
            continue
        results[name] = score(loader, labels[name], restorer, arguments.protocol, arguments.largest)
        console.print(f"{name}: {finite_mean(results[name].psnr[NOTHING])} -> {finite_mean(results[name].psnr[MODEL])}")
    state = restorer.network.state_dict()
    digest = hashlib.sha256(b"".join(value.contiguous().numpy().tobytes() for value in state.values())).hexdigest()[:16]
    labels_of_model = () if restorer.diagnoser is None else restorer.diagnoser.labels
    text = (
        f"PSNR in dB / SSIM, protocol {arguments.protocol}.\n\n{table(results)}\n{confusion(results, labels_of_model)}"
    )
    write_text(arguments.folder / "report.md", text)
    values = {
        name: {"psnr": result.psnr, "ssim": result.ssim, "seconds": result.seconds} for name, result in results.items()
    }
    write_text(arguments.folder / "report.json", json.dumps(values))
    sheet(results, arguments.folder / "sheet.jpg")
    entry = {
        "date": time.strftime("%Y-%m-%d"), "weights": digest, "protocol": arguments.protocol,
        "psnr": {name: round(statistics.fmean(result.psnr[MODEL]), 2) for name, result in results.items()},
    }  # fmt: skip
    with arguments.log.open("a", encoding="utf-8") as log:
        log.write(json.dumps(entry) + "\n")
    console.print(text)


if __name__ == "__main__":
    main()
