"""Fixtures of training steps of the blind super-resolution family: momentum contrast, and learning to rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adapters_blind_sr import conv_bn_widths, ranker_widths
from safetensors.torch import load_file
from torch import Tensor

from uir.encoders.conv_bn_encoder import ConvBN6Encoder
from uir.encoders.daa_encoder import DAAEncoder
from uir.losses.contrastive_loss import InfoNCELoss
from uir.losses.ranking_loss import MarginRankingLoss
from uir.models.momentum_contrast import MomentumContrast

Arrays = Mapping[str, np.ndarray]


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The keys under a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def compare_moco_steps(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, tuple[Any, Any, float]]:
    """Some steps without an optimizer: logits, losses, queue and pointer of each, and all weights at the end."""
    before, after = (load_file(Path(meta["folder"]) / f"weights_{when}.safetensors") for when in ("before", "after"))
    constructor, atol = meta["constructor"], meta["tolerance"]["atol"]
    encoder = ConvBN6Encoder(conv_bn_widths(meta), rgb_range=1.0)
    encoder.load_state_dict(part(before, "encoder_q."))
    contrast = MomentumContrast(encoder, constructor["dim"], constructor["K"], constructor["m"])
    contrast.encoder_k.load_state_dict(part(before, "encoder_k."))
    contrast.queue.copy_(before["queue"].T)
    contrast.pointer.copy_(before["queue_ptr"][0])
    loss = InfoNCELoss(constructor["T"])
    compared: dict[str, tuple[Any, Any, float]] = {}
    with torch.no_grad():
        for step in range(meta["n_steps"]):
            query, key = (torch.from_numpy(arrays[f"in_{name}{step}"]) for name in "qk")
            code = encoder(query)
            contrast.follow(encoder)
            positive = contrast(key)
            compared[f"embedding{step}"] = (code.vector, arrays[f"out_embedding{step}"], atol)
            logits = loss.logits(code, positive, contrast.queue)
            compared[f"logits{step}"] = (logits, arrays[f"out_logits{step}"], atol)
            compared[f"loss{step}"] = (loss(code, positive, contrast.queue), arrays[f"out_loss{step}"], atol)
            contrast.enqueue(positive.require("projection", "momentum contrast"))
            compared[f"queue{step}"] = (contrast.queue.T, arrays[f"out_queue{step}"], atol)
            compared[f"pointer{step}"] = (contrast.pointer[None], arrays[f"out_ptr{step}"], 0.0)
    for name, network in (("encoder_q", encoder), ("encoder_k", contrast.encoder_k)):
        published = part(after, f"{name}.")
        state = network.state_dict()
        compared |= {f"{name}.{key}": (state[key], value, 1e-5) for key, value in published.items()}
    return compared


def compare_rank_loss(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, tuple[Any, Any, float]]:
    """DAA's loss of six renditions, each of which has its own batch statistics."""
    encoder = DAAEncoder(conv_bn_widths(meta), ranker_widths(meta)[1:-1], rgb_range=1.0)
    encoder.load_state_dict(load_file(Path(meta["folder"]) / "weights.safetensors"), strict=False)  # no counters in it
    factors = {"lam1": "k1", "lam2": "k2", "noise": "k3"}
    changes = [arrays[f"{name}_{key}"] - arrays[f"{name}_qk"] for name, key in factors.items()]
    zeros = np.zeros_like(changes[0])
    orders = torch.from_numpy(np.sign(np.stack([zeros, zeros, *changes, zeros - 1], 1)))
    with torch.no_grad():
        codes = [encoder.train()(images) for images in torch.from_numpy(arrays["in_im"]).unbind(1)]
        loss = MarginRankingLoss()(codes, orders)
    got = {"embedding": codes[0].vector, "score": codes[0].score, "loss": loss}
    return {key: (value, arrays[f"out_{key}"], meta["tolerance"]["atol"]) for key, value in got.items()}


MOCO_ADAPTERS: dict[str, Callable[[Mapping[str, Any], Arrays], dict[str, tuple[Any, Any, float]]]] = {
    "dasr_wang/moco_steps": compare_moco_steps,
    "daa/rank_loss": compare_rank_loss,
}
