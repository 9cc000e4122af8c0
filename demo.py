"""`make demo`: restore degraded photographs with uir-small, fine-tune it to two degradations, and measure again.

The demo fails unless for every degradation the PSNR rises and the SSIM does not fall: from degraded to uir-small, and
from uir-small to the fine-tuned network.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from uir.config.options import load_options
from uir.core.images import read_rgb, to_tensor, write_image
from uir.core.progress import console
from uir.core.seeds import derive_seed
from uir.core.sheets import write_sheet
from uir.data.building import evaluation_loaders
from uir.degradations.recipes import load_degradation
from uir.inference.image_files import restore_files
from uir.inference.restorer import Restorer
from uir.test import test_pipeline
from uir.train import train_pipeline

ROOT = Path(__file__).resolve().parent
PHOTOGRAPH = ROOT / "datasets/demo/test/coffee.png"
TRAIN, TEST, TEST_TUNED = (
    ROOT / "options" / name
    for name in ("train/uir_small_demo.yml", "test/uir_small_demo.yml", "test/uir_small_demo_tuned.yml")
)
BEFORE, SHIPPED, TUNED = "degraded", "uir-small", "fine-tuned"
Values = dict[str, dict[str, float]]  # psnr and ssim of each degradation


def main() -> int:
    """Run the demo and return the exit code."""
    began = time.perf_counter()
    print("1. Restoring photographs with uir-small, which comes with uir ...")
    shipped = Restorer.from_pretrained("uir-small")
    before, after = measured(TEST)
    folder = ROOT / "experiments" / "demo"
    restored, diagnosis = restore_one(shipped, folder)
    sheet = draw_sheet({SHIPPED: shipped}, TEST, folder / "restored.jpg")
    show({BEFORE: before, SHIPPED: after})
    print(f"   a restored photograph: {restored} (diagnosis: {diagnosis})")
    print(f"   picture sheet:         {sheet}")

    print("\n2. Fine-tuning it to haze and low light, on five photographs ...")
    run = train_pipeline(ROOT, ["-opt", str(TRAIN)])

    print("\n3. Testing on the photographs of the first step, which it has not seen ...")
    tuned_before, tuned = measured(TEST_TUNED)
    of_shipped = {task: after[task] for task in tuned}
    tuned_restorer = Restorer.from_pretrained(run / "models" / "net_g_latest.pth")
    sheet = draw_sheet({SHIPPED: shipped, TUNED: tuned_restorer}, TEST_TUNED, folder / "tuned.jpg")
    show({BEFORE: tuned_before, SHIPPED: of_shipped, TUNED: tuned})
    print(f"   picture sheet: {sheet}")
    print(f"   {time.perf_counter() - began:.0f} s in all")
    faults = worse(before, after, SHIPPED) + worse(of_shipped, tuned, TUNED)
    if faults:
        print("FAILED: every PSNR must rise, and no SSIM may fall:\n  " + "\n  ".join(faults), file=sys.stderr)
    return 1 if faults else 0


def measured(options: Path) -> tuple[Values, Values]:
    """PSNR and SSIM of the degraded and of the restored photographs, by degradation.

    They are NaN where a photograph was restored to values that are not finite: it would be in no mean.
    """
    results = test_pipeline(ROOT, ["-opt", str(options)])
    unknown = {"psnr": math.nan, "ssim": math.nan}
    before = {item.dataset: unknown if item.nonfinite else item.inputs for item in results}
    return before, {item.dataset: unknown if item.nonfinite else item.results for item in results}


def worse(before: Values, after: Values, name: str) -> list[str]:
    """Where a network is not better; NaN never is."""
    return [
        f"{name}, {task}: {new['psnr']:.2f} dB / {new['ssim']:.4f} after {old['psnr']:.2f} dB / {old['ssim']:.4f}"
        for task, old, new in ((task, before[task], after[task]) for task in before)
        if not (new["psnr"] > old["psnr"] and new["ssim"] >= old["ssim"])
    ]


def restore_one(restorer: Restorer, folder: Path) -> tuple[Path, str]:
    """Degrade a photograph, then diagnose and restore the file as `uir restore` does."""
    degraded, _ = load_degradation("GaussianNoise")(to_tensor(read_rgb(PHOTOGRAPH)), derive_seed(1, "demo"))
    noisy, restored = folder / "coffee_noisy.png", folder / "coffee_restored.png"
    write_image(noisy, degraded)
    diagnosis = restorer.diagnose(noisy)
    restore_files(restorer, [noisy], restored, overwrite=True)
    return restored, f"{diagnosis.label}, {diagnosis.confidence:.0%} sure"


def draw_sheet(restorers: Mapping[str, Restorer], options: Path, file: Path) -> Path:
    """Draw degraded, restored and clean images side by side, for each degradation of a test."""
    rows: list[tuple[str, list[Any]]] = []
    for task, loader in evaluation_loaders(load_options(options, is_train=False)).items():
        batch = next(iter(loader))
        pictures = [batch["lq"], *(each.restore_tensor(batch["lq"]) for each in restorers.values()), batch["gt"]]
        rows.append((task, [picture[0].permute(1, 2, 0).numpy() for picture in pictures]))
    return write_sheet(file, rows, [BEFORE, *restorers, "clean"])


def show(results: Mapping[str, Values]) -> None:
    """Print PSNR in dB and SSIM of each degradation, and their means."""
    table = Table("", *results, title="PSNR in dB / SSIM, protocol dcpt")
    rows = {task: [values[task] for values in results.values()] for task in results[BEFORE]}
    rows["mean"] = [
        {metric: statistics.fmean(each[metric] for each in values.values()) for metric in ("psnr", "ssim")}
        for values in results.values()
    ]
    for task, row in rows.items():
        table.add_row(task, *(f"{each['psnr']:.2f} / {each['ssim']:.3f}" for each in row))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
