"""Fixtures of adversarial training: losses, discriminators, and the blocks of SPADE and LIP."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from uir.layers.contextual import contextual_distance
from uir.layers.lip import BottleneckLIP, SimplifiedLIP, lip2d
from uir.layers.spade import SPADE, SPADEResnetBlock
from uir.losses.fdl_loss import FDLLoss
from uir.losses.gan_loss import GANLoss, relative

Comparison = tuple[Any, Any, float]
Arrays = Mapping[str, np.ndarray]


def compare_gan(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, Comparison]:
    """Every kind of adversarial loss, plain and relativistic, with the gradient of the latter."""
    real, fake = (torch.from_numpy(arrays[key]) for key in ("real_pred", "fake_pred"))
    got: dict[str, Any] = {}
    for kind in sorted(
        {re.split(r"_(?:gen|disc|relativistic)", key)[0] for key in arrays} - {"real_pred", "fake_pred"}
    ):
        loss = GANLoss(kind, loss_weight=0.1)
        got[f"{kind}_gen"] = loss(fake)
        got[f"{kind}_disc_real"] = loss(real, True, is_disc=True)
        got[f"{kind}_disc_fake"] = loss(fake, False, is_disc=True)
        if f"{kind}_relativistic_gen" in arrays:
            learned = fake.clone().requires_grad_()
            value = (loss(relative(real, learned), False) + loss(relative(learned, real), True)) / 2
            got[f"{kind}_relativistic_gen"] = value.detach()
            (got[f"{kind}_relativistic_gen_grad_fake"],) = torch.autograd.grad(value, learned)
            got[f"{kind}_relativistic_disc_real"] = 0.5 * loss(relative(real, fake), True, is_disc=True)
            got[f"{kind}_relativistic_disc_fake"] = 0.5 * loss(relative(fake, real), False, is_disc=True)
    return {key: _near(value, arrays[key], meta["tolerance"]["rtol"]) for key, value in got.items()}


def compare_contextual(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, Comparison]:
    """The cosine distance, at every band width; the port's other distances are not the paper's."""
    compared = {}
    wanted = torch.from_numpy(arrays["y"])
    for key, expected in arrays.items():
        parts = re.fullmatch(r"(grad_x_)?cosine_h([\d.]+)", key)
        if parts is None:
            continue
        features = torch.from_numpy(arrays["x"]).requires_grad_()
        value = contextual_distance(features, wanted, float(parts[2])).mean()
        got = torch.autograd.grad(value, features)[0] if parts[1] else value.detach()
        compared[key] = _near(got, expected, meta["tolerance"]["rtol"])
    return compared


class BlockAdapter:
    """Builds a layer in place of a registered network; `build` reads the published arguments."""

    def __init__(self, build: Callable[[dict[str, Any]], torch.nn.Module]) -> None:
        self._build = build

    def build(self, meta: Mapping[str, Any]) -> torch.nn.Module:
        """The layer of a fixture."""
        noted = meta.get("patched_hardcoded_values") or {}
        sizes = {key: int(str(value).rpartition("->")[2]) for key, value in noted.items()}
        return self._build({**meta["constructor"], **sizes})

    def call(self, network: torch.nn.Module, inputs: dict[str, Tensor]) -> Any:
        """The inputs in their stored order."""
        return network(*inputs.values())


def spade(arguments: dict[str, Any]) -> torch.nn.Module:
    """SPADE of a text such as `spadeinstance3x3`."""
    norm = "batch" if "batch" in arguments["config_text"] else "instance"
    return SPADE(arguments["norm_nc"], arguments["label_nc"], norm, arguments.get("nhidden", 128))


def spade_block(arguments: dict[str, Any]) -> torch.nn.Module:
    """The block of a text such as `spectralspadebatch3x3`."""
    text = arguments["norm_G"]
    norm = "batch" if "batch" in text else "instance"
    sizes = (arguments["fin"], arguments["fout"], arguments["semantic_nc"])
    return SPADEResnetBlock(*sizes, norm, "spectral" in text, arguments.get("nhidden", 128))


def compare_lip(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, Comparison]:
    """Pooling with given logits, at every kernel, stride and padding."""
    compared = {}
    for key, expected in arrays.items():
        if key.startswith("out"):
            number = key.removeprefix("out")
            x, logit = (torch.from_numpy(arrays[name + number]) for name in ("x", "logit"))
            got = lip2d(x, logit, *arrays["ksp" + number].tolist())
            compared[key] = (got, expected, meta["tolerance"]["atol"])
    return compared


class StoredTrunk(torch.nn.Module):
    """The fixture's own two stages in place of VGG."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.weights = {key.removeprefix("model."): value for key, value in weights.items()}

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Features by stage."""
        w = self.weights
        first = F.conv2d((image - w["mean"]) / w["std"], w["c1.weight"], w["c1.bias"], padding=1).relu()
        second = F.conv2d(first, w["c2.weight"], w["c2.bias"], stride=2, padding=1).relu()
        return {"0": first, "1": second}


def compare_fdl(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, Comparison]:
    """The distances of every stage and the losses, with the stored projections."""
    weights = load_file(Path(meta["folder"]) / "weights.safetensors")
    image, target = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    loss = FDLLoss(layers=["conv1_1"], vgg_type="vgg11", weights="random", **meta["constructor"])
    loss.trunk = StoredTrunk(weights)
    loss.load_kept_state({"projections": {layer: weights[f"rand_{layer}"] for layer in ("0", "1")}})
    rtol = meta["tolerance"]["loss"]["rtol"]
    compared: dict[str, Comparison] = {}
    features, wanted = loss.trunk(image), loss.trunk(target)
    for layer in features:
        amplitude, phase = loss.distances(layer, features[layer], wanted[layer])
        compared[f"amplitude_layer{layer}"] = _near(amplitude, arrays[f"amplitude_layer{layer}"], rtol)
        compared[f"phase_layer{layer}"] = _near(phase, arrays[f"phase_layer{layer}"], rtol)
    for key, expected in arrays.items():
        parts = re.fullmatch(r"(loss|grad_x)_phase_weight_([\d.]+)", key)
        if parts is None:
            continue
        learned, loss.phase_weight = image.clone().requires_grad_(), float(parts[2])
        value = loss(learned, target)
        if parts[1] == "loss":
            compared[key] = _near(value.detach(), expected, rtol)
        else:
            compared[key] = (torch.autograd.grad(value, learned)[0], expected, meta["tolerance"]["grad"]["atol"])
    return compared


def _near(got: Any, expected: np.ndarray, rtol: float) -> Comparison:
    """A comparison whose tolerance is relative to the largest number."""
    return got, expected, rtol * float(np.abs(expected).max())


NVLABS, LIP = "NVlabs/SPADE", "sebgao/LIP"
ADVERSARIAL_BLOCKS: dict[tuple[str, str], Any] = {
    (NVLABS, "SPADE"): BlockAdapter(spade),
    (NVLABS, "SPADEResnetBlock"): BlockAdapter(spade_block),
    (LIP, "SimplifiedLIP"): BlockAdapter(lambda arguments: SimplifiedLIP(arguments["channels"])),
    (LIP, "BottleneckShared + BottleneckLIP"): BlockAdapter(
        lambda arguments: BottleneckLIP(arguments["channels"], arguments.get("bottleneck width", 128))
    ),
}
ADVERSARIAL_FUNCTIONS: dict[str, Callable[..., dict[str, Comparison]]] = {
    "blocks/lip2d_functional": compare_lip,
    "losses/contextual": compare_contextual,
    "losses/fdl": compare_fdl,
    "losses/gan_and_relativistic": compare_gan,
}
