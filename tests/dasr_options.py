"""Small option files for DASR-Liang."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adversarial_options import changes as adversarial

P = {"type": "DegradationPredictor", "nf": 4, "num_networks": 3}
G = {"type": "MSRResNetDynamic", "num_feat": 4, "num_block": 1, "num_models": 3}


def changes(**more: Any) -> dict[str, Any]:
    """What makes the small option file one of DASR at scale 2, on pairs of an unknown degradation."""
    return {
        **adversarial("DASRModel"),
        "network_p": P,
        "network_g": {**G, "upscale": 2},
        "train.optim_p": {"type": "Adam", "lr": 1e-3},
        "train.regress_opt": {"type": "L1Loss", "loss_weight": 1.0},
        **more,
    }


def degrading(pairs: Path, legacy: bool = False, **more: Any) -> dict[str, Any]:
    """The same at scale 4, on clean images that are degraded by the recipe."""
    clean = {"dataroot_gt": str(pairs / "gt"), "degradation": {"type": "dasr_liang", "legacy": legacy}}
    train = {"type": "DegradedImageDataset", **clean, "gt_size": 64, "target": {"type": "USMSharpen"}}
    return changes(
        **{
            "scale": 4,
            "network_g": {**G, "upscale": 4},
            "datasets": {"train": {**train, "batch_size_per_gpu": 2}, "val": None},
            "train.scheduler": None,
            "train.legacy": legacy,
            "queue_size": 6,
            **more,
        }
    )
