"""Small files for the methods that classify, and the batches they see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from uir.config.options import load_options
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.models.building import build_model

Write = Callable[..., Path]
LABELS = ("noise", "blur", "haze")
NETWORK = {"type": "NAFNet", "width": 4, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}
METHODS = ("DCPTModel", "DCTModel", "DCModel", "DCDistModel", "MaskDCPTModel")
# Every backbone that DCPT's files name, as small as it can be.
RESTORMER: dict[str, Any] = {"dim": 4, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "heads": [1, 1, 2, 2]}
SMALL_BACKBONES: dict[str, dict[str, Any]] = {
    "NAFNet": {"width": 4, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]},
    "PromptIR": {**RESTORMER, "prompt_dims": [4, 4, 4], "prompt_len": 2, "prompt_sizes": [8, 4, 2]},
    "Restormer": RESTORMER,
    "SwinIR": {"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4, "mlp_ratio": 2, "upscale": 1},
}
# What the others hold and a method that leaves a network as it is does not take.
LACKS: dict[str, dict[str, Any]] = {
    "DCModel": {"train.optim_g": None, "train.pixel_opt": None},
    "DCDistModel": {"train.optim_dc": None},
}
HEAD: dict[str, Any] = {"type": "FeatureClassifier", "max_params": 2000, "feature_points": None, "num_classes": None}


def changes(pairs: Path, model_type: str, **more: Any) -> dict[str, Any]:
    """What makes the small option file one of a method that classifies three degradations of clean images."""
    clean = {"type": "DegradedImageDataset", "dataroot_gt": str(pairs / "gt")}
    degradations = {"noise": "GaussianNoise", "blur": "IsotropicGaussianBlur", "haze": "Haze"}
    tasks = {task: {**clean, "degradation": {"type": degradations[task]}} for task in LABELS}
    data = {"type": "MultiTaskDataset", "tasks": tasks, "sampling": "uniform"}
    return {
        "model_type": model_type,
        "scale": 1,
        "datasets": {
            "train": {**data, "gt_size": 16, "use_hflip": True, "batch_size_per_gpu": 4},
            "val": data,
        },
        "plugins": None,
        "network_g": NETWORK,
        "network_dc": HEAD,
        "val.metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}},
        "train.optim_g": {"type": "AdamW", "lr": 1e-3, "weight_decay": 0},
        "train.optim_dc": {"type": "AdamW", "lr": 1e-3, "weight_decay": 1e-4},
        "train.scheduler": None,
        "train.classify_opt": {"type": "FocalLoss", "gamma": 2.0},
        **LACKS.get(model_type, {}),
        **more,
    }


def model_of(file: Path, labels: tuple[str, ...] | None = LABELS) -> Any:
    """A method as the training loop makes it, weights away from their start so that every branch counts."""
    torch.manual_seed(0)
    model = build_model(load_options(file), torch.device("cpu"), dataset=SimpleNamespace(labels=labels or ()))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(7)
        for role in model.roles():
            for parameter in model.bare[role].parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def batch(labels: tuple[str | None, ...] = ("haze", "noise", "blur", "noise"), size: int = 16) -> dict[str, Any]:
    """Noise as images, with records."""
    generator = torch.Generator().manual_seed(1)
    gt, lq = torch.rand(2, len(labels), 3, size, size, generator=generator)
    return {"lq": lq, "gt": gt, "degradation": RecordBatch(DegradationRecord(None, label=label) for label in labels)}


def step(model: Any, data: dict[str, Any], iteration: int = 1) -> None:
    """One step on a batch."""
    model.feed_data(data)
    model.optimize_parameters(iteration)


def gradients(model: Any) -> dict[str, Tensor | None]:
    """The gradient of every parameter of all networks."""
    return {
        f"{role}.{name}": parameter.grad
        for role in model.roles()
        for name, parameter in model.bare[role].named_parameters()
    }


def weights(network: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights."""
    return {name: value.clone() for name, value in network.state_dict().items()}
