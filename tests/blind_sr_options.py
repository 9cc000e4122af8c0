"""Small option files for blind super-resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WIDTHS = [4, 6, 8]
PUBLISHED_STAGES: list[dict[str, Any]] = [
    {"name": "encoder", "iterations": 2, "train": ["network_e"], "losses": ["contrastive_opt"]},
    {"name": "joint", "iterations": 3, "carry": ["optim_e"]},
]
RANKING = {
    "type": "RankingDataset",
    "degradation": {"type": "dasr_wang_aniso", "scale": 2},
    "factors": [
        "AnisotropicGaussianBlur.sigma_x_px",
        "AnisotropicGaussianBlur.sigma_y_px",
        "GaussianNoise.sigma_255",
    ],
}


def changes(pairs: Path, **more: Any) -> dict[str, Any]:
    """What makes the small option file one of DASR at scale 2."""
    clean = {"dataroot_gt": str(pairs / "gt"), "degradation": {"type": "dasr_wang_iso", "scale": 2}}
    return {
        "model_type": "BlindSRModel",
        "datasets": {
            "train": {"type": "ContrastiveDataset", **clean, "gt_size": 32, "use_hflip": True, "batch_size_per_gpu": 2},
            "val": {"type": "DegradedImageDataset", **clean},
        },
        "plugins": None,
        "network_e": {"type": "ConvBN6Encoder", "widths": WIDTHS},
        "network_g": {"type": "DASR", "scale": 2, "n_groups": 1, "n_blocks": 1, "n_feats": 8},
        "train.optim_e": {"type": "Adam", "lr": 1e-3},
        "train.scheduler": None,
        "train.contrastive_opt": {"type": "InfoNCELoss", "loss_weight": 0.00392157},
        "train.momentum_contrast": {"queue_size": 10, "momentum": 0.9},
        "train.total_iter": 4,
        "val": None,
        **more,
    }


def staged(pairs: Path, **more: Any) -> dict[str, Any]:
    """The same in its two stages."""
    return changes(pairs, **{"train.total_iter": None, "train.stages": PUBLISHED_STAGES, **more})
