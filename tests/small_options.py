"""A small valid option file and the network it names, for tests."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2


def sr_options(pairs: Path) -> dict[str, Any]:
    """A small valid training file, as a mapping."""
    roots = {"dataroot_gt": str(pairs / "gt"), "dataroot_lq": str(pairs / "lq")}
    return {
        "name": "small",
        "model_type": "SRModel",
        "scale": 2,
        "num_gpu": 0,
        "manual_seed": 5,
        "datasets": {
            "train": {
                "type": "PairedImageDataset", **roots, "gt_size": 32, "use_hflip": True, "use_rot": True,
                "batch_size_per_gpu": 2,
            },
            "val": {"type": "PairedImageDataset", **roots},
        },
        "network_g": {"type": "PixelShuffleSR", "width": 6, "scale": 2},
        "train": {
            "total_iter": 6,
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [4], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss"},
        },
        "val": {"val_freq": 3, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2}}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 3},
        "plugins": ["./small_net.py"],
    }  # fmt: skip


def with_changes(options: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The same mapping after changes given as `dotted.key: value`; None removes the key."""
    for dotted, value in changes.items():
        target = options
        *parents, leaf = dotted.split(".")
        for key in parents:
            target = target.setdefault(key, {})
        if value is None:
            target.pop(leaf, None)
        else:
            target[leaf] = copy.deepcopy(value)
    return options


def write_pairs(folder: Path, photographs: Sequence[Path]) -> None:
    """Write gt (64×72 crops of the first six photographs) and lq (the same at half size)."""
    for index, path in enumerate(photographs[:6]):
        crop = cv2.imread(str(path))[40:104, 60:132]
        for kind, image in (("gt", crop), ("lq", cv2.resize(crop, (36, 32), interpolation=cv2.INTER_AREA))):
            (folder / kind).mkdir(exist_ok=True, parents=True)
            cv2.imwrite(str(folder / kind / f"{index}.png"), image)


SMALL_NET = '''
"""A network for tests: one convolution and a pixel shuffle."""
from torch import nn
from uir.registry import ARCH_REGISTRY

if "PixelShuffleSR" not in ARCH_REGISTRY:
    @ARCH_REGISTRY.register()
    class PixelShuffleSR(nn.Module):
        """Two convolutions and a pixel shuffle."""

        def __init__(self, width: int = 6, scale: int = 2) -> None:
            super().__init__()
            self.pad_multiple, self.scale = 1, scale
            self.body = nn.Sequential(
                nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.GELU(),
                nn.Conv2d(width, 3 * scale * scale, 3, padding=1), nn.PixelShuffle(scale),
            )

        def forward(self, lq):
            return self.body(lq)
'''
