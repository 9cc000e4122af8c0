"""Every registered network at its small configuration: what it is given, and what it is by what it gives."""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from arch_configs import ARCH_CONFIGS, FEATURES
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build

KINDS = ("backbone", "encoder", "classifier", "decoder", "discriminator", "text")
SIDES = {"VGGStyleDiscriminator": (32, 40)}
"""Height and width of the image for networks that need a larger one than others."""


def own_networks() -> list[str]:
    """All names in ARCH_REGISTRY whose class is uir's own."""
    return [name for name, cls in ARCH_REGISTRY if cls.__module__.startswith("uir.")]


def networks_of(kind: str) -> list[str]:
    """The networks of one kind, in the order of their names."""
    return [name for name in own_networks() if kind_of(name) == kind]


@functools.cache
def kind_of(name: str) -> str:
    """What a network is by what it does: one of KINDS, or a sentence that says why it is none of them."""
    if name not in ARCH_CONFIGS:
        return f"{name} has no small configuration; add one to tests/arch_configs.py"
    try:
        network = build_network(name)
    except ImportError as error:
        return f"{name} cannot be built here: {error}"
    inputs = made_inputs(network, name, *SIDES.get(name, (16, 24)))
    if isinstance(inputs, str):
        return inputs
    with torch.no_grad():
        result = network(**inputs)
    if isinstance(result, DegradationCode):
        return "text" if "prompts" in inputs else "encoder"
    if isinstance(result, list) or (isinstance(result, Tensor) and "features" not in inputs and result.shape[1] == 1):
        return "discriminator"
    if isinstance(result, Tensor) and result.ndim == 4:
        return "decoder" if "features" in inputs else "backbone"
    if isinstance(result, Tensor) and result.ndim == 2 and "features" in inputs:
        return "classifier"
    return f"{name} gives {type(result).__name__}: no restored image [B, C, H, W], no DegradationCode, no logits [B, K]"


def build_network(name: str, seed: int = 0, moved: float = 0.0, **changes: Any) -> nn.Module:
    """A network of its small configuration, in eval mode; its weights depend on the seed alone.

    Args:
        name, seed: which one, of which draw.
        moved: the deviation of what is added to every parameter, so that no branch starts switched off.
        changes: to the configuration.
    """
    if name not in ARCH_CONFIGS:
        pytest.fail(f"{name} has no small configuration; add one to tests/arch_configs.py")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = build("archs", {"type": f"uir:{name}", **ARCH_CONFIGS[name], **changes}).eval()
        for parameter in network.parameters() if moved else ():
            parameter.add_(torch.randn_like(parameter), alpha=moved)
        settle_spectral_norms(network)
    return network


def settle_spectral_norms(network: nn.Module) -> None:
    """Give spectral normalisation what its iterations would come to for the present weights."""
    with torch.no_grad():
        for module in network.modules():
            if hasattr(module, "weight_u"):
                left, _, right = torch.linalg.svd(module.weight_orig.flatten(1), full_matrices=False)
                module.weight_u.copy_(left[:, 0])
                module.weight_v.copy_(right[0])


def draw(seed: int, key: str) -> np.random.RandomState:
    """A generator of numpy's frozen legacy kind, keyed by seed and name: the same numbers with any version."""
    return np.random.RandomState((zlib.crc32(key.encode()) + 7919 * seed) % 2**32)


def made_image(height: int, width: int, batch: int = 2) -> Tensor:
    """Noise [B, 3, height, width] in [0, 1] on a slope, so that means and places differ."""
    noise = draw(1, "image").random_sample((batch, 3, height, width))
    slope = np.linspace(0, 1, width)[None, None, None] * np.linspace(0.2, 1, batch)[:, None, None, None]
    return torch.from_numpy((0.6 * noise + 0.4 * slope).astype(np.float32))


def made_code(network: nn.Module, image: Tensor, name: str = "") -> DegradationCode:
    """A code as wide as the network takes it, each image's made of that image alone."""
    vector = mixed(image, getattr(network, "code_channels", 1), "code.vector").mean((2, 3))
    return DegradationCode(vector=vector, map=mixed(image, getattr(network, "map_channels", 1), "code.map"))


def made_features(network: nn.Module, image: Tensor, name: str = "") -> list[Tensor]:
    """The features of FEATURES, each image's made of that image alone."""
    height, width = image.shape[-2:]
    return [
        mixed(F.interpolate(image, (height // stride, width // stride), mode="area"), channels, f"feature{index}")
        for index, (channels, stride) in enumerate(FEATURES[name])
    ]


def mixed(image: Tensor, channels: int, key: str) -> Tensor:
    """[B, 3, H, W] to [B, channels, H, W]: each channel another sum of the image's."""
    weights = torch.from_numpy(draw(0, key).standard_normal((channels, 3)).astype(np.float32))
    return torch.einsum("oc,bchw->bohw", weights, image - 0.5)


def made_experts(network: nn.Module, image: Tensor, name: str = "") -> Tensor:
    """Weights of the experts, each image's made of that image alone."""
    return mixed(image, network.num_experts, "experts").mean((2, 3)) + 1 / network.num_experts


# What a network's forward may take beside the image, by the name of the parameter.
CONDITIONS: dict[str, Callable[[nn.Module, Tensor, str], Any]] = {
    "code": made_code,
    "experts": made_experts,
    "features": made_features,
    "lq": lambda _network, image, _name: mixed(image, 3, "lq"),  # of a discriminator, whose first input is `image`
}


def made_inputs(network: nn.Module, name: str, height: int, width: int, batch: int = 2) -> dict[str, Any] | str:
    """What a network's forward takes, by the names of its parameters; a sentence where nothing is known of one."""
    image_name, *others = inspect.signature(network.forward).parameters.values()
    if image_name.name == "prompts":
        return {"prompts": [" ".join(ARCH_CONFIGS[name]["words"][index:]) for index in range(batch)]}
    inputs: dict[str, Any] = {image_name.name: made_image(height, width, batch)}
    for parameter in others:
        if parameter.name in CONDITIONS:
            inputs[parameter.name] = CONDITIONS[parameter.name](network, inputs[image_name.name], name)
        elif parameter.default is inspect.Parameter.empty:
            return f"{name}.forward takes '{parameter.name}'; add it to CONDITIONS in tests/small_networks.py"
    return inputs
