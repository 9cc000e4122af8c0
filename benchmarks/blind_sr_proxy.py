"""Does a degradation code learn the width of the kernel, and does it help? A small experiment, x4, on one machine.

It trains with ordinary option files, which are written below --folder and run by `uir train`: for each seed an encoder
(momentum contrast), and from it a small DASR with its images' own codes, with the code set to zero, and with codes
shuffled in the batch. Then it measures (1) on other photographs, by nearest neighbours, how well the code shows the
width of the kernel, compared with an untrained encoder and plain pixels, and (2) on the test sets, how much the code
improves Y-PSNR for each width.

Complete runs are not repeated, and a run that the time limit stopped continues: start it again with the same arguments.

    python benchmarks/blind_sr_proxy.py --photographs DIR --test Set5=DIR --test Set14=DIR --minutes 60
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _runs import Runs
from rich.table import Table

from uir.ablation.statistics import interval, paired
from uir.analysis.features_of import PIXELS, features_of, pixel_features
from uir.analysis.networks import load_network
from uir.analysis.patches import DegradedPatches, degraded_patches
from uir.analysis.probes import probe_features
from uir.analysis.tsne import write_embeddings
from uir.config.options import load_options
from uir.core.devices import pick_device
from uir.core.files import write_text
from uir.core.images import list_images
from uir.core.progress import console
from uir.core.seeds import numpy_generator
from uir.data.building import evaluation_loaders
from uir.degradations.degraded_files import degrade_files
from uir.degradations.test_sets import DASR_WIDTHS
from uir.engine.evaluation import build_metrics, evaluate
from uir.layers.resize import imresize
from uir.models.building import build_model

SCALE = 4
WIDTHS = [f"width_{width:.1f}" for width in DASR_WIDTHS[SCALE]]
ENCODER = {"type": "ConvBN6Encoder", "widths": [32, 64, 128]}
BODY = {"type": "DASR", "scale": SCALE, "n_groups": 2, "n_blocks": 2, "n_feats": 32}
CELLS = ("own", "zero", "shuffled")


class Proxy:
    """The runs and their measurements in a folder.

    Args:
        options: the command line's.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.runs = Runs(Path(options.folder), options.minutes)
        self.folder = self.runs.folder
        self.patch = SCALE * options.patch
        self.tests = dict(entry.split("=", 1) for entry in options.test)

    # --- data ---

    def prepare(self) -> None:
        """Divide the photographs, and create the test sets: every width of every image, in one shuffled order."""
        for part in ("train", "probe"):
            (self.folder / "photographs" / part).mkdir(parents=True, exist_ok=True)
        files = list_images(Path(self.options.photographs))
        held_out = min(self.options.probe_images, len(files) // 2)
        for index, file in enumerate(files):
            place = self.folder / "photographs" / ("probe" if index < held_out else "train") / file.name
            if not place.exists():
                shutil.copy(file, place)
        for name, images in self.tests.items():
            self._mix(name, Path(images))

    def _mix(self, name: str, images: Path) -> None:
        """Mix the files of all widths: a shuffled code is that of the image before, which may so have any width."""
        made, mixed = self.folder / "made" / name, self.folder / "test" / name
        if mixed.is_dir():
            return
        degrade_files([images], made, "dasr_widths")
        pairs = [(width, file) for width in WIDTHS for file in list_images(made / "gt")]
        order = numpy_generator(0, "mix", name).permutation(len(pairs))
        for place, index in enumerate(order):
            width, file = pairs[index]
            for part, source in (("gt", file), ("lq", made / width / file.name)):
                target = mixed / part / f"{place:04d}_{width}_{file.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)

    # --- training ---

    def common(self, name: str, seed: int) -> dict[str, Any]:
        """The options of all runs."""
        data = {
            "type": "ContrastiveDataset", "dataroot_gt": "photographs/train", "gt_size": self.patch, "use_hflip": True,
            "use_rot": True, "degradation": {"type": "dasr_wang_iso", "scale": SCALE}, "batch_size_per_gpu":
            self.options.batch, "num_worker_per_gpu": self.options.workers, "dataset_enlarge_ratio": 50,
        }  # fmt: skip
        return {
            "name": name, "model_type": "BlindSRModel", "scale": SCALE, "num_gpu": self.options.num_gpu,
            "manual_seed": seed, "datasets": {"train": data}, "network_e": ENCODER, "network_g": BODY,
            "logger": {"print_freq": 50, "save_checkpoint_freq": 500, "keep_last": 1},
        }  # fmt: skip

    def encoder_file(self, seed: int) -> Path:
        """Pre-training of only the encoder, by momentum contrast."""
        steps = self.options.encoder_iterations
        train = {
            "stages": [{"name": "pretrain", "iterations": steps, "train": ["network_e"]}],
            "optim_e": {"type": "Adam", "lr": 1e-3}, "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [steps * 6 // 10], "gamma": 0.1},
            "momentum_contrast": {"queue_size": self.options.queue, "momentum": self.options.momentum},
            "contrastive_opt": {"type": "InfoNCELoss", "temperature": 0.07},
        }  # fmt: skip
        name = f"encoder_seed{seed}"
        return self.runs.file_of({**self.common(name, seed), "train": train})

    def joint_file(self, cell: str, seed: int) -> Path:
        """The restorer with the pre-trained encoder; the cells differ only in the use of the code."""
        steps = self.options.iterations
        train = {
            "total_iter": steps, "code": cell, "optim_e": {"type": "Adam", "lr": 1e-4},
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "CosineAnnealingRestartLR", "periods": [steps], "eta_min": 1e-6},
            "momentum_contrast": {"queue_size": self.options.queue, "momentum": self.options.momentum},
            "pixel_opt": {"type": "L1Loss"},
            "contrastive_opt": {"type": "InfoNCELoss", "temperature": 0.07, "loss_weight": 1 / 255},
        }  # fmt: skip
        name = f"{cell}_seed{seed}"
        path = {"pretrain_network_e": str(self.runs.weights(f"encoder_seed{seed}", "e").relative_to(self.folder))}
        return self.runs.file_of({**self.common(name, seed), "path": path, "train": train})

    def train_all(self) -> None:
        """Train the encoders, then the restorers of complete encoders, until the time is over."""
        with ThreadPoolExecutor(self.options.jobs) as pool:
            seeds = range(self.options.seeds)
            encoders = pool.map(self.runs.train, [self.encoder_file(seed) for seed in seeds])
            ready = [seed for seed, done in zip(seeds, encoders, strict=True) if done]
            list(pool.map(self.runs.train, [self.joint_file(cell, seed) for seed in ready for cell in CELLS]))

    # --- measuring ---

    def probe(self) -> dict[str, Any]:
        """Accuracy of the kernel's width by nearest neighbours, and a picture.

        No photograph is on both sides of a split.
        """
        patches = degraded_patches(self.folder / "photographs" / "probe", "dasr_widths", crop=self.patch)
        accuracies: dict[str, list[float]] = {}
        self._probe(accuracies, patches, {PIXELS: pixel_features(patches.images)})
        for seed in range(self.options.seeds):
            opt = self.encoder_file(seed)
            runs = {
                "untrained": None,
                "pre-trained": self.runs.weights(f"encoder_seed{seed}", "e"),
                "joint": self.runs.weights(f"own_seed{seed}", "e"),
            }
            for title, file in runs.items():
                if file is None or file.exists():
                    encoder = load_network(opt, file, "e", seed=seed)
                    codes = features_of(encoder, patches.images, device=pick_device(self.options.num_gpu))
                    levels = {f"{title}, {level}": codes[level] for level in ("vector", "projection")}
                    self._probe(accuracies, patches, levels)
                    if seed == 0:
                        drawn = {title: codes["vector"]}
                        write_embeddings(self.folder / f"tsne_{title}", drawn, patches, [title], {"widths": WIDTHS})
        return accuracies

    def _probe(self, accuracies: dict[str, list[float]], patches: DegradedPatches, levels: Mapping[str, Any]) -> None:
        for result in probe_features(levels, patches, "knn", k=5):
            accuracies.setdefault(result.level, []).append(result.mean)

    def restore(self) -> dict[str, Any]:
        """Y-PSNR by cell, test set and width, one value per seed; `own, tested shuffled` shuffles only in the test."""
        by_cell: dict[str, dict[str, dict[int, float]]] = {}
        for seed in range(self.options.seeds):
            for cell in CELLS:
                if self.runs.weights(f"{cell}_seed{seed}", "g").exists():
                    uses = {cell: cell, **({"own, tested shuffled": "shuffled"} if cell == "own" else {})}
                    for title, use in uses.items():
                        for place, value in self._psnr(cell, seed, use).items():
                            by_cell.setdefault(title, {}).setdefault(place, {})[seed] = value
        return by_cell

    def _psnr(self, cell: str, seed: int, use: str) -> dict[str, float]:
        cache = self.folder / "measured" / f"{cell}_seed{seed}_{use}.json"
        if cache.exists():
            return dict(json.loads(cache.read_text()))
        path = {f"pretrain_network_{role}": str(self.runs.weights(f"{cell}_seed{seed}", role)) for role in "ge"}
        loaded = load_options(self._test_file(f"test_{cell}_seed{seed}", path), is_train=False, root=self.folder)
        model = build_model(loaded, pick_device(self.options.num_gpu))
        metrics, means = build_metrics(loaded.options.val), {}
        for name, loader in evaluation_loaders(loaded).items():
            model.predictor.code = use
            rows = evaluate(model, loader, name, metrics, iteration=0).per_image
            for width in WIDTHS:
                values = [row["metrics"]["psnr"] for row in rows if f"_{width}_" in Path(row["lq_path"]).name]
                means[f"{name} {width}"] = interval(values).mean
        write_text(cache, json.dumps(means))
        return means

    def bicubic(self) -> dict[str, float]:
        """Y-PSNR of bicubic enlargement, for comparison."""
        loaded = load_options(self._test_file("bicubic", {}), is_train=False, root=self.folder)
        metric, means = build_metrics(loaded.options.val)["psnr"], {}
        for name, loader in evaluation_loaders(loaded).items():
            values: dict[str, list[float]] = {}
            for batch in loader:
                width = next(width for width in WIDTHS if f"_{width}_" in Path(batch["lq_path"][0]).name)
                values.setdefault(f"{name} {width}", []).append(metric(imresize(batch["lq"], SCALE), batch["gt"]))
            means |= {place: interval(psnrs).mean for place, psnrs in sorted(values.items())}
        return means

    def _test_file(self, name: str, path: Mapping[str, str]) -> Path:
        sets = {
            f"test_{index}": {
                "name": key, "type": "PairedImageDataset", "dataroot_gt": f"test/{key}/gt",
                "dataroot_lq": f"test/{key}/lq",
            }
            for index, key in enumerate(self.tests)
        }  # fmt: skip
        content = {
            **self.common(name, 0), "datasets": sets, "path": dict(path),
            "val": {"metrics": {"psnr": {"type": "PSNR", "protocol": "blindsr_y", "crop_border": SCALE}}},
        }  # fmt: skip
        return self.runs.file_of(content)


def probe_table(accuracies: Mapping[str, list[float]]) -> Table:
    """Accuracies: the mean over seeds and its interval."""
    table = Table("code", "seeds", "accuracy, %", title="Four kernel widths by nearest neighbours (chance 25 %)")
    for level, values in accuracies.items():
        table.add_row(level, str(len(values)), interval([100 * value for value in values]).text(1))
    return table


def psnr_table(by_cell: Mapping[str, Mapping[str, Mapping[int, float]]], bicubic: Mapping[str, float]) -> Table:
    """Y-PSNR by width, and the gain over the code of zeros, paired by seed."""
    table = Table(title="Y-PSNR in dB, border 4; ± 95 % of Student's t over seeds")
    titles = [title for title in by_cell if title != "zero"]
    for column in ("test set, width", "bicubic", *by_cell, *(f"{title} - zero" for title in titles)):
        table.add_column(column, justify="left" if column.startswith("test") else "right")
    for place, plain in bicubic.items():
        cells = [interval(list(by_cell[title][place].values())).text(2) for title in by_cell]
        gains = [paired(by_cell[title][place], by_cell.get("zero", {}).get(place, {})) for title in titles]
        table.add_row(place, f"{plain:.2f}", *cells, *(gain.text(2) if gain else "" for gain in gains))
    return table


def main() -> None:
    """Train, measure, print the tables and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", default="datasets/demo/train", help="clean photographs to learn from")
    parser.add_argument("--test", action="append", help="NAME=FOLDER of clean test images; may be repeated")
    parser.add_argument("--folder", default="experiments/blind_sr_proxy", help="folder for all output")
    parser.add_argument("--minutes", type=float, default=3, help="time for training; the rest is done next time")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--encoder-iterations", type=int, default=2000)
    parser.add_argument("--iterations", type=int, default=4000, help="iterations of the restorer")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48, help="side of a patch in pixels of the degraded image")
    parser.add_argument("--queue", type=int, default=2048, help="keys in the queue; a multiple of the batch")
    parser.add_argument("--momentum", type=float, default=0.99, help="of the momentum encoder; short runs need less")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; give each a thread by OMP_NUM_THREADS=1")
    parser.add_argument("--probe-images", type=int, default=60, help="photographs used only for nearest neighbours")
    parser.add_argument("--num-gpu", type=int, default=0, help="0 for the CPU")
    options = parser.parse_args()
    options.test = options.test or ["demo=datasets/demo/test"]
    proxy = Proxy(options)
    proxy.prepare()
    proxy.train_all()
    probes, restored, bicubic = proxy.probe(), proxy.restore(), proxy.bicubic()
    console.width = 160
    console.print(probe_table(probes))
    console.print(psnr_table(restored, bicubic))
    content = {"arguments": vars(options), "knn": probes, "psnr": restored, "bicubic": bicubic}
    write_text(proxy.folder / "results.json", json.dumps(content, indent=2) + "\n")
    console.print(f"written: {proxy.folder / 'results.json'}")


if __name__ == "__main__":
    main()
