"""Option files for tests of the JSON Schema, and what the schema says of them."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from uir.config.yaml_file import parse_yaml

TRAINING = """
name: pair
model_type: SRModel
scale: 2
plugins: [./mine.py]
datasets:
  train:
    type: MultiTaskDataset
    sampling: uniform
    gt_size: 128
    tasks:
      haze: {type: DegradedImageDataset, dataroot_gt: a, degradation: {type: Haze, beta: [0.6, 1.8]}}
      mixed:
        type: DegradedImageDataset
        dataroot_gt: a
        degradation:
          type: Sequence
          steps:
            - {type: Maybe, p: 0.8, step: {type: OneOf, steps: [{type: MotionBlur}, {type: LowLight, gamma: 2}]}}
            - {type: GaussianNoise, sigma: {choice: [15, 25]}}
      real: {type: PairedImageDataset, dataroot_lq: a, dataroot_gt: b, label: blur}
    batch_size_per_gpu: 4
    prefetch_mode: ~
  val: {type: PairedImageDataset, name: Set5, dataroot_gt: a, dataroot_lq: b, io_backend: {type: disk}}
  val_2: {type: PairedImageDataset, dataroot_gt: a, dataroot_lq: b}
network_g: {type: NAFNet, width: 16, enc_blk_nums: [1, 1], dec_blk_nums: [1, 1]}
path: {pretrain_network_g: ~, param_key_g: params_ema, strict_load_g: true}
train:
  total_iter: 100
  ema_decay: 0.999
  grad_clip: {max_norm: 1.0}
  optim_g: {type: AdamW, lr: 3e-4, betas: [0.9, 0.999], weight_decay: 0}
  scheduler: {type: MultiStepLR, milestones: [50], gamma: 0.5}
  pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}
  perceptual_opt: ~
  frequency_opt: {type: FFTLoss}
val:
  val_freq: 50
  save_img: false
  suffix: 1
  metrics:
    psnr: {type: calculate_psnr, crop_border: 2, test_y_channel: false, better: higher}
    ssim: {type: "uir:SSIM", protocol: dcpt}
logger: {print_freq: 10, save_checkpoint_freq: 5e3, use_tb_logger: true, wandb: {project: ~}}
dist_params: {backend: nccl, port: 29500}
"""

STAGES = """
name: staged
model_type: SRModel
datasets: {train: {type: PairedImageDataset, dataroot_gt: a, dataroot_lq: b, batch_size_per_gpu: 2}}
network_g: {type: NAFNet}
train:
  optim_g: {type: Adam, lr: 1e-4}
  pixel_opt: {type: L1Loss}
  stages:
    - {name: small, iterations: 10, losses: [pixel_opt], datasets: {train: {gt_size: 64}}}
    - {name: large, iterations: 10, train: [network_g], carry: [optim_g], optim_g: {lr: 2e-4}, pixel_opt: {eps: ~}}
"""

OVERLAY = """
base: other.yml
name: wider
network_g: {width: 32, middle_blk_num: ~}
datasets: {train: {gt_size: 256, tasks: {haze: {degradation: {beta: 1}}, rain: ~}}, val: ~}
train: {ema_decay: ~, optim_g: {lr: 1e-3}, scheduler: ~, pixel_opt: {loss_weight: 2}}
"""


def changed(text: str, dotted: str, value: Any) -> dict[str, Any]:
    """A file with one key set (`None` in lists of keys is written `~`)."""
    raw = parse_yaml(text)
    target = raw
    *parents, leaf = (int(key) if key.isdigit() else key for key in dotted.split("."))
    for key in parents:
        target = target[key]
    if value is DELETED:
        del target[leaf]
    else:
        target[leaf] = value
    return raw


DELETED = "<deleted>"


def complaint(schema: dict[str, Any], raw: Any) -> str:
    """The most telling error, with its place; empty where the file is accepted."""
    error = best_match(Draft202012Validator(schema).iter_errors(raw))
    return f"{'.'.join(map(str, error.absolute_path))}: {error.message}" if error else ""
