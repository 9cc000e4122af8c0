"""A small valid option file and the network it names, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any


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
