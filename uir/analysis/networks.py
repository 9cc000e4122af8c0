"""The network to examine: from an option file or a checkpoint, trained or with random weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from uir.config.options import read_merged, read_translated
from uir.core.checkpoint import fit_state, read_weights
from uir.core.seeds import torch_generator
from uir.inference.code_predictor import takes_code
from uir.layers.code_widths import sized_by_encoder
from uir.layers.padding import multiple_of
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build

Initialisation = Literal["trained", "random", "kaiming"]


def load_network(
    opt: Path | None = None,
    model: Path | None = None,
    role: str = "g",
    init: Initialisation | None = None,
    param_key: str | None = None,
    seed: int = 0,
) -> nn.Module:
    """Load a network for examination, in evaluation mode, on the CPU.

    Args:
        opt: an option file; its `network_<role>` describes the network. None: the checkpoint's card describes it.
        model: the checkpoint.
        role: which network of the file.
        init: `trained` (the checkpoint's weights), `random` (the network's own initialisation) or `kaiming`
            (`kaiming_uniform`, a = 2, for every convolution and linear layer, the control of DCPT's kNN protocol).
                Default: trained if there is a checkpoint.
        param_key: which weights of the checkpoint; default the moving average if there is one.
        seed: seed of random weights. The global generators are unchanged.

    Raises:
        ValueError: the network is not described, or there are no weights to load.
        CheckpointError: the checkpoint does not fit the network.
    """
    init = init or ("random" if model is None else "trained")
    if init == "trained" and model is None:
        raise ValueError("--init trained needs a checkpoint: --model FILE")
    state, card = read_weights(model, param_key, True, role) if model is not None else ({}, {})
    arch = _described(opt, model, card, role)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = build(ARCH_REGISTRY, arch)
    if init == "trained":
        fit_state(network, state, str(model), card=card)
    elif init == "kaiming":
        kaiming_initialise(network, seed)
    return network.eval()


def with_encoder(network: nn.Module, opt: Path | None) -> nn.Module:
    """Give a backbone that uses a degradation code the file's `network_e`, with random weights.

    Returns:
        The encoder and the backbone in one module; only the backbone if it uses no code.

    Raises:
        ValueError: the backbone needs a code, and there is no encoder for it.
    """
    if "code" not in inspect.signature(network.forward).parameters or not takes_code(network):
        return network
    if opt is None or not isinstance(read_merged(opt)[0].get("network_e"), Mapping):
        raise ValueError(
            f"{type(network).__name__} uses a degradation code; give an option file (-opt) with the network_e "
            "that makes it"
        )
    return _Conditioned(load_network(opt, role="e"), network).eval()


def kaiming_initialise(network: nn.Module, seed: int = 0) -> None:
    """Draw the weights of every 2-D convolution and linear layer by `kaiming_uniform` (He et al., 2015), a = 2."""
    generator = torch_generator("kaiming", seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=2, generator=generator)


def count_parameters(network: nn.Module) -> int:
    """Number of parameters, trainable or not."""
    return sum(parameter.numel() for parameter in network.parameters())


class _Conditioned(nn.Module):
    def __init__(self, encoder: nn.Module, backbone: nn.Module) -> None:
        super().__init__()
        self.encoder, self.backbone = encoder, backbone
        self.pad_multiple = multiple_of(backbone)

    def forward(self, lq: Tensor) -> Tensor:
        restored: Tensor = self.backbone(lq, self.encoder(lq))
        return restored


def _described(opt: Path | None, model: Path | None, card: Mapping[str, Any], role: str) -> dict[str, Any]:
    """The network's mapping: from the option file, else from the checkpoint's card."""
    if opt is not None:
        raw = read_translated(opt)
        arch = raw.get(f"network_{role}")
        if not isinstance(arch, dict):
            networks = [str(key) for key in raw if str(key).startswith("network_")]
            raise ValueError(f"{opt}: has no network_{role}; it has {', '.join(networks) or 'no network'}")
        return sized_by_encoder(arch, raw.get("network_e")) if role == "g" else arch
    if model is None:
        raise ValueError("which network? Give an option file (-opt FILE), or a checkpoint that has a card (--model)")
    if not isinstance(card.get("arch"), dict):
        raise ValueError(f"{model}: has no card that describes its network; give the option file too (-opt)")
    return card["arch"]
