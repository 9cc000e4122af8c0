"""Option files as DCPT's authors write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from uir.config.dialects import translate
from uir.config.options import OptionError, load_options

NAMES = ["rain", "noise", "haze", "low", "blur"]
SMALL = {"type": "NAFNet", "width": 4, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}
FULL = {
    "NAFNet": {"width": 64, "middle_blk_num": 1, "enc_blk_nums": [1, 1, 1, 28], "dec_blk_nums": [1] * 4},
    "Restormer": {},
    "PromptIR": {"decoder": True},
    "SwinIR": {
        "upscale": 1, "img_size": 128, "window_size": 8, "embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6,
        "mlp_ratio": 2, "upsampler": "",
    },
}  # fmt: skip
# Backbone: hook_names, feature_dims, downsample, batch, rates, window.
SETTINGS: dict[str, tuple[str, list[int], bool, int, tuple[float, float], int]] = {
    "NAFNet": ("decoder", [64, 128, 256, 512], False, 8, (3e-4, 1e-4), 16),
    "Restormer": ("decoder_level", [96, 96, 192], False, 4, (2e-4, 5e-5), 8),
    "PromptIR": ("reduce_noise_level", [96, 192, 192], False, 4, (2e-4, 5e-5), 8),
    "SwinIR": ("decode_layers", [180, 180, 180], True, 4, (2e-4, 5e-5), 8),
}
Form = dict[str, Any]


def published(backbone: str = "NAFNet", gt: str = "datasets/gt", lq: str = "datasets/lq") -> Form:
    """A pre-training on five degradations in the published form and size."""
    hooks, dims, tokens, batch, rates, window = SETTINGS[backbone]
    pair = {"dataroot_gt": gt, "dataroot_lq": lq, "io_backend": {"type": "disk"}}
    train_set = {"gt_size": 128, "use_hflip": True, "use_rot": True, "dataset_enlarge_ratio": 1}
    kinds: list[Form] = [
        {"type": "PairedImageDataset", **pair},
        {"type": "PairedImageDenoiseDataset", **pair, "sigma_type": "choice", "sigma_range": [15, 25, 50]},
        {"type": "PairedImageDehazeDataset", **pair, "suffix": ".png"},
        {"type": "PairedImageDataset", **pair},
        {"type": "PairedImageDataset", **pair},
    ]
    sections = list(enumerate(zip(NAMES, kinds, strict=True), 1))
    return {
        "name": "pretrain_5d",
        "model_type": "DCPTModel",
        "scale": 1,
        "num_gpu": 4,
        "manual_seed": 0,
        "find_unused_parameters": False,
        "classify": True,
        "hook_names": hooks,
        "datasets": {
            **{f"train_{i}": {"name": name, **kind, **train_set} for i, (name, kind) in sections},
            **{
                f"val_{i}": {"name": f"{name}_val", **kind, "center_crop": True, "gt_size": 256}
                for i, (name, kind) in sections
            },
        },
        "dataloader": {
            "use_shuffle": True, "num_worker_per_gpu": 8, "batch_size_per_gpu": batch, "prefetch_mode": None,
        },
        "dataloader_val": {"num_worker_per_gpu": 2, "batch_size_per_gpu": 1},
        "network_g": {"type": backbone, **FULL[backbone], "window_size": window},
        "network_dc": {
            "type": "PromptIR_NoImg_DC", "feature_dims": dims, "num_classes": 5,
            **({"downsample": True} if tokens else {}),
        },
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": 0.999,
            "optim_g": {"type": "AdamW", "lr": rates[0], "weight_decay": 0.0, "betas": [0.9, 0.999]},
            "optim_dc": {"type": "AdamW", "lr": rates[1], "weight_decay": 1e-4, "betas": [0.9, 0.999]},
            "scheduler": {
                "type": "CosineAnnealingRestartLR", "periods": [1000000], "restart_weights": [1], "eta_min": 1e-6,
            },
            "total_iter": 1000000,
            "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
            "classify_opt": {"type": "FocalLoss", "gamma": 2.0},
        },
        "val": {
            "val_freq": 20000,
            "save_img": False,
            "metrics": {
                "psnr": {"type": "calculate_psnr", "crop_border": 0, "test_y_channel": False, "image_range": 255},
                "ssim": {"type": "calculate_ssim", "crop_border": 0, "test_y_channel": False, "image_range": 255},
            },
        },
        "logger": {"print_freq": 100, "save_checkpoint_freq": 5000, "use_tb_logger": False},
        "dist_params": {"backend": "nccl", "port": 29500},
    }  # fmt: skip


def fine_tuning() -> Form:
    """A restoration alone, on the same sets."""
    form = published()
    for key in ("network_dc", "hook_names", "classify"):
        del form[key]
    del form["train"]["optim_dc"], form["train"]["classify_opt"]
    return form | {"model_type": "SRModel", "grad_clip": 0.01}


def final_test() -> Form:
    """A test of what the fine-tuning gives."""
    form = fine_tuning()
    form["network_g"]["type"] = "NAFNetBaseline"
    form["datasets"] = {"test_1": form["datasets"]["val_1"]}
    del form["train"], form["dataloader"]
    return form


def transfer(index: int) -> Form:
    """A network of one task on its way to another, a classifier as its guide."""
    form = published("Restormer")
    form |= {"model_type": "DCDistModel", "dataset_idx": index, "grad_clip": 0.01}
    form["network_g"] = {"type": "Restormer_origin"}
    sections = form["datasets"]
    form["datasets"] = {"train": {**sections["train_1"], "batch_size_per_gpu": 8}, "val_1": sections["val_1"]}
    del form["dataloader"], form["train"]["optim_dc"]
    form["train"]["cross_entropy_opt"] = {"type": "CrossEntropyLoss", "loss_weight": 1.0}
    del form["train"]["classify_opt"]
    form["train"] |= {
        "total_iter": 100000,
        "scheduler": {
            "type": "CosineAnnealingRestartCyclicLR", "periods": [100000, 300000], "restart_weights": [1, 1],
            "eta_mins": [3e-4, 1e-6],
        },
    }  # fmt: skip
    return form


def problem_of(file: Path, **arguments: Any) -> str:
    with pytest.raises(OptionError) as error:
        load_options(file, **arguments)
    return str(error.value)


def translated(form: Form) -> Form:
    return translate(form, {}).raw
