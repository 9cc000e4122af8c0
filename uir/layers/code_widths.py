"""What a degradation encoder gives, and how wide: for the restorer that is built beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build, signature_of

STEERING = ("vector", "map", "params", "mask", "kernel")
"""Fields that a backbone may be steered by; the others are for losses."""


def filled(code: DegradationCode) -> list[str]:
    """Names of the fields that are there."""
    return [field.name for field in fields(code) if getattr(code, field.name) is not None]


def code_of_blank(encoder: nn.Module) -> DegradationCode:
    """What an encoder gives for one black image of 64×64: which fields, of which widths.

    Raises:
        ValueError: it gives something else than a code.
    """
    device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
    with torch.no_grad(), evaluating(encoder):
        code = encoder(torch.zeros(1, 3, 64, 64, device=device))
    if not isinstance(code, DegradationCode):
        raise ValueError(
            f"network_e: {type(encoder).__name__} gave {type(code).__name__}; a degradation encoder returns a "
            "DegradationCode (uir.layers.degradation_code)"
        )
    return code


def widths_of(code: DegradationCode) -> dict[str, int]:
    """What a restorer's constructor may ask of the code that steers it."""
    found = {"code_channels": code.vector, "map_channels": code.map}
    return {key: value.shape[1] for key, value in found.items() if value is not None}


def filled_in(arch: Mapping[str, Any], widths: Mapping[str, int]) -> dict[str, Any]:
    """The mapping of a restorer with those `widths` that its class takes, and that it does not say or says `~`."""
    taken = signature_of(ARCH_REGISTRY.get(arch["type"])).parameters
    known = {key: value for key, value in widths.items() if key in taken}
    return {**known, **{key: value for key, value in arch.items() if value is not None or key not in known}}


def sized_by_encoder(arch: Mapping[str, Any], encoder: Any) -> dict[str, Any]:
    """The mapping of a restorer as training fills it in, by the mapping of the encoder that stands beside it, if any.

    The encoder is built, with random weights, only where a width is missing.
    """
    asked = dict.fromkeys(("code_channels", "map_channels"), 0) if "type" in arch and isinstance(encoder, dict) else {}
    if not asked or filled_in(arch, asked) == arch:
        return dict(arch)
    with torch.random.fork_rng(devices=[]):
        return filled_in(arch, widths_of(code_of_blank(build(ARCH_REGISTRY, encoder))))


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Networks in evaluation mode, and every module of them back in its own afterwards."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
