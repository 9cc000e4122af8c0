"""The fields and widths of a degradation encoder's code, for the restorer that is built to use it."""

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

STEERING = ("vector", "map", "params", "mask", "kernel", "content")
"""Fields that a backbone may use; the others are for losses."""


def filled(code: DegradationCode) -> list[str]:
    """Names of the fields that are not None."""
    return [field.name for field in fields(code) if getattr(code, field.name) is not None]


def code_of_blank(encoder: nn.Module) -> DegradationCode:
    """The code of an encoder for one black image of 64×64; it shows the fields and their widths.

    Raises:
        ValueError: the encoder does not return a code.
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
    """The code's widths, by the names of a restorer's constructor arguments."""
    content = code.vector if code.content is None else code.content
    fields_by_argument = {"code_channels": code.vector, "map_channels": code.map, "content_channels": content}
    return {key: value.shape[1] for key, value in fields_by_argument.items() if value is not None}


def filled_in(arch: Mapping[str, Any], widths: Mapping[str, int]) -> dict[str, Any]:
    """The mapping of a restorer, with those `widths` that its class has as arguments and the mapping leaves open."""
    parameters = signature_of(ARCH_REGISTRY.get(arch["type"])).parameters
    usable = {key: value for key, value in widths.items() if key in parameters}
    return {**usable, **{key: value for key, value in arch.items() if value is not None or key not in usable}}


def sized_by_encoder(arch: Mapping[str, Any], encoder: Any) -> dict[str, Any]:
    """The mapping of a restorer as training completes it, from the mapping of the encoder beside it, if there is one.

    The encoder is built, with random weights, only if a width is missing.
    """
    open_widths = (
        dict.fromkeys(("code_channels", "map_channels"), 0) if "type" in arch and isinstance(encoder, dict) else {}
    )
    if not open_widths or filled_in(arch, open_widths) == arch:
        return dict(arch)
    with torch.random.fork_rng(devices=[]):
        return filled_in(arch, widths_of(code_of_blank(build(ARCH_REGISTRY, encoder))))


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Put networks into evaluation mode, and restore the mode of every module afterwards."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
