"""`make demo`: restore degraded photographs with uir-small, fine-tune it for two minutes on others, and measure again.

The demo fails unless, for every degradation, both networks raise the PSNR and neither lowers the SSIM.
"""

from __future__ import annotations

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
TRAIN, TEST = ROOT / "options/train/uir_small_demo.yml", ROOT / "options/test/uir_small_demo.yml"
BEFORE, SHIPPED, TUNED = "degraded", "uir-small", "fine-tuned"
Values = dict[str, dict[str, float]]  # psnr and ssim of each degradation


def main() -> int:
    """Run the demo and return the exit code."""
    began = time.perf_counter()
    print("1. Restoring photographs with uir-small, which comes with uir ...")
    shipped = Restorer.from_pretrained("uir-small")
    before, after = measured()
    results = {BEFORE: before, SHIPPED: after}
    folder = ROOT / "experiments" / "demo"
    restored, diagnosis = restore_one(shipped, folder)
    draw_sheet({SHIPPED: shipped}, folder / "restored.jpg")
    show(results)
    print(f"   a restored photograph: {restored} (degraded by {diagnosis})")
    print(f"   picture sheet:         {folder / 'restored.jpg'}")

    print("\n2. Fine-tuning it on five photographs, with degradations made on the fly ...")
    network = train_pipeline(ROOT, ["-opt", str(TRAIN)]) / "models" / "net_g_latest.pth"

    print("\n3. Testing on the photographs of the first step, which it has not seen ...")
    results[TUNED] = measured("--force_yml", f"path:pretrain_network_g={network}")[1]
    sheet = draw_sheet({SHIPPED: shipped, TUNED: Restorer.from_pretrained(network)}, folder / "sheet.jpg")
    show(results)
    print(f"   picture sheet: {sheet}")
    print(f"   {time.perf_counter() - began:.0f} s in all")
    worse = [
        f"{name}, {metric} of {task}: {values[task][metric]:.3f}, degraded {before[task][metric]:.3f}"
        for name, values in results.items() if name != BEFORE
        for task in before
        for metric in ("psnr", "ssim")
        if values[task][metric] < before[task][metric] or values[task]["psnr"] == before[task]["psnr"]
    ]  # fmt: skip
    if worse:
        print("FAILED: every PSNR must rise, and no SSIM may fall:\n  " + "\n  ".join(worse), file=sys.stderr)
    return 1 if worse else 0


def measured(*more: str) -> tuple[Values, Values]:
    """PSNR and SSIM of the degraded and of the restored photographs, by degradation."""
    results = test_pipeline(ROOT, ["-opt", str(TEST), *more])
    return {item.dataset: item.inputs for item in results}, {item.dataset: item.results for item in results}


def restore_one(restorer: Restorer, folder: Path) -> tuple[Path, str]:
    """Degrade a photograph, then diagnose and restore the file as `uir restore` does."""
    degraded, _ = load_degradation("GaussianNoise")(to_tensor(read_rgb(PHOTOGRAPH)), derive_seed(1, "demo"))
    noisy, restored = folder / "coffee_noisy.png", folder / "coffee_restored.png"
    write_image(noisy, degraded)
    diagnosis = restorer.diagnose(noisy)
    restore_files(restorer, [noisy], restored, overwrite=True)
    return restored, f"{diagnosis.label}, {diagnosis.confidence:.0%} sure"


def draw_sheet(restorers: Mapping[str, Restorer], file: Path) -> Path:
    """Draw degraded, restored and clean images side by side, for each degradation of the test."""
    rows: list[tuple[str, list[Any]]] = []
    for task, loader in evaluation_loaders(load_options(TEST, is_train=False)).items():
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
