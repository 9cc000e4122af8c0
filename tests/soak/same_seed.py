"""The same seed gives the same bits, whatever the number of loader processes, resumed or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soak.children import run_child
from soak.killed_runs import CHANGES, content_of_run, differences, train_file
from soak.promises import Finding, project

DATASETS: dict[str, dict[str, Any]] = {
    "pairs": {},
    "degraded on the fly": {
        "datasets.train.type": "DegradedImageDataset",
        "datasets.train.dataroot_lq": None,
        "datasets.train.degradation": {"type": "GaussianNoise"},
        "datasets.train.scale": 1,
        "scale": 1,
        "network_g": {"type": "PixelShuffleSR", "width": 6, "scale": 1},
        "datasets.val.type": "DegradedImageDataset",
        "datasets.val.dataroot_lq": None,
        "datasets.val.degradation": {"type": "GaussianNoise"},
    },
}


def check_same_seed(folder: Path, count: int) -> Finding:
    """Train with 0, 1 and 4 loader processes, at once and in two parts, for the first `count` kinds of data set."""
    finding = Finding(
        "The same seed gives the same weights and metrics, with any number of loader processes, resumed or not.",
        f"{min(count, len(DATASETS))} kinds of data set × 0, 1 and 4 loader processes × at once and resumed",
    )
    runs = 0
    for kind, changes in list(DATASETS.items())[:count]:
        first: dict[str, Any] | None = None
        for workers in (0, 1, 4):
            for resumed in (False, True):
                name = f"{kind.split()[0]}_{workers}_{'parts' if resumed else 'whole'}"
                options = {**CHANGES, **changes, "datasets.train.num_worker_per_gpu": workers}
                file = project(folder, options, name)
                if resumed:
                    half = project(folder, {**options, "train.total_iter": 6}, name)
                    run_child(train_file, half)
                    file = project(folder, options, name)
                ended = run_child(train_file, file, resumed)
                if ended.code != 0:
                    finding.failures.append(f"{name}: exit code {ended.code}: {ended.output[-300:]}")
                    continue
                runs += 1
                content = content_of_run(folder / "experiments" / name)
                first = first or content
                different = [key for key in differences(first, content) if "latest" in key or key.isalpha()]
                if different:
                    finding.failures.append(f"{name}: {different} differ")
    finding.figure = f"{runs} runs, {runs - len(finding.failures)} of them equal within their kind, bit by bit"
    return finding
