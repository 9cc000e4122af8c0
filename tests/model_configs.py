"""A small configuration of every registered training method: changes to the small option file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import adversarial_options
import blind_sr_options
import dasr_options
import dcpt_options
from arch_configs import ARCH_CONFIGS


# A registered class without an entry fails tests/models/test_every_model.py.
def moce_ir_changes(pairs: Path) -> dict[str, Any]:
    """A small MoCE-IR with its balance."""
    return {
        **restoring_changes(pairs),
        "network_g": {"type": "MoCEIR", **ARCH_CONFIGS["MoCEIR"]},
        "train.balance_opt": {"type": "RouterBalanceLoss"},
    }


def diffir_s2_changes(pairs: Path) -> dict[str, Any]:
    """A small second stage of DiffIR, with a first one of random weights."""
    return {
        **restoring_changes(pairs),
        "network_s1": {"type": "DiffIRS1", **ARCH_CONFIGS["DiffIRS1"]},
        "network_g": {"type": "DiffIRS2", **ARCH_CONFIGS["DiffIRS2"]},
        "train.prior_opt": {"type": "L1Loss"},
    }


def instructir_changes(pairs: Path) -> dict[str, Any]:
    """A small InstructIR with a table of words, its loss on intentions, and noise alone."""
    made = restoring_changes(pairs)
    made["datasets"]["train"]["label"] = "noise"
    return {
        **made,
        "network_g": {"type": "InstructIR", **ARCH_CONFIGS["InstructIR"], "txtdim": None},
        "network_t": {"type": "PromptEncoder", "embedding_dim": 8, "hidden_dim": 6},
        "train.optim_t": {"type": "AdamW", "lr": 1e-3},
        "train.intent_opt": {"type": "CrossEntropyLoss"},
    }


def diffusion_changes(pairs: Path, network: str, **more: Any) -> dict[str, Any]:
    """A small network that estimates a quantity in states with noise."""
    made = restoring_changes(pairs)
    return {
        **made,
        "network_g": {"type": network, **ARCH_CONFIGS[network]},
        "train.pixel_opt": None,
        "train.diffusion_opt": {"type": "L1Loss"},
        **more,
    }


def idr_changes(pairs: Path) -> dict[str, Any]:
    """A small IDR in its first stage, with two hubs."""
    made = restoring_changes(pairs)
    made["datasets"]["train"]["label"] = "noise_25"
    return {
        **made,
        "network_g": {"type": "IDR", **ARCH_CONFIGS["IDR"]},
        "train.side_opt": {"type": "SideOutputLoss"},
        "train.hub_opt": {"type": "HubLoss"},
    }


def onerestore_changes(pairs: Path) -> dict[str, Any]:
    """A small OneRestore, its embedder, and two scenes."""
    made = restoring_changes(pairs)
    clean = {"type": "DegradedImageDataset", "dataroot_gt": str(pairs / "gt")}
    scenes = {"haze": {**clean, "degradation": {"type": "Haze"}}, "low": {**clean, "degradation": {"type": "LowLight"}}}
    data = {"type": "ScenesDataset", "scenes": scenes}
    return {
        **made,
        "datasets": {"train": {**data, "gt_size": 32, "batch_size_per_gpu": 2}, "val": data},
        "network_e": {"type": "SceneEmbedder", **ARCH_CONFIGS["SceneEmbedder"]},
        "network_g": {"type": "OneRestore", **ARCH_CONFIGS["OneRestore"]},
        "train.optim_e": {"type": "Adam", "lr": 1e-4},
        "train.contrast_opt": {"type": "CompositeContrastiveLoss", "vgg_type": None},
        "train.scene_opt": {"type": "SceneLoss"},
    }


def restoring_changes(pairs: Path) -> dict[str, Any]:
    """Noise to remove from clean images, at scale 1."""
    noisy = {
        "type": "DegradedImageDataset", "dataroot_gt": str(pairs / "gt"),
        "degradation": {"type": "GaussianNoise", "sigma": 25},
    }  # fmt: skip
    return {
        "scale": 1,
        "plugins": None,
        "datasets": {"train": {**noisy, "gt_size": 16, "batch_size_per_gpu": 2}, "val": noisy},
        "train.optim_g": {"type": "AdamW", "lr": 1e-3},
        "train.scheduler": None,
    }


MODELS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "BlindSRModel": blind_sr_options.changes,
    "DiffIRS1Model": lambda pairs: {
        **restoring_changes(pairs),
        "network_g": {"type": "DiffIRS1", **ARCH_CONFIGS["DiffIRS1"]},
    },
    "DiffIRS2Model": diffir_s2_changes,
    "IRSDEModel": lambda pairs: diffusion_changes(pairs, "ConditionalUNet"),
    "RefusionModel": lambda pairs: diffusion_changes(
        pairs,
        "ConditionalNAFNet",
        network_l={"type": "LatentUNet", **ARCH_CONFIGS["LatentUNet"]},
        **{
            "train.optim_l": {"type": "Adam", "lr": 1e-4},
            "train.rebuild_opt": {"type": "L1Loss"},
            "train.replace_opt": {"type": "L1Loss"},
        },
    ),
    "WeatherDiffModel": lambda pairs: diffusion_changes(pairs, "WeatherDiff", **{"train.patches": 2}),
    "DACLIPModel": lambda pairs: diffusion_changes(
        pairs,
        "DACLIPUNet",
        network_e={"type": "ConvBN6Encoder", **ARCH_CONFIGS["ConvBN6Encoder"]},
        **{
            "network_g": {
                "type": "DACLIPUNet",
                **ARCH_CONFIGS["DACLIPUNet"],
                "code_channels": None,
                "content_channels": None,
            },
            "train.optim_e": {"type": "Adam", "lr": 1e-4},
        },
    ),
    "DiffUIRModel": lambda pairs: diffusion_changes(pairs, "DiffUIR"),
    "IDRModel": idr_changes,
    "InstructIRModel": instructir_changes,
    "MoCEIRModel": moce_ir_changes,
    "OneRestoreModel": onerestore_changes,
    "DASRModel": lambda pairs: dasr_options.changes(),
    "SRModel": lambda pairs: {},
    "StrengthModel": lambda pairs: {
        "model_type": "StrengthModel",
        "network_g": {
            "type": "GainNet",
            "levels": 3,
            "backbone": {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2},
        },
    },
    **{name: lambda _, name=name: adversarial_options.changes(name) for name in adversarial_options.METHODS},
    **{name: lambda _, name=name: adversarial_options.degrading(name) for name in adversarial_options.DEGRADING},
    **{method: lambda pairs, method=method: dcpt_options.changes(pairs, method) for method in dcpt_options.METHODS},
}
