"""LPIPS as a loss (Zhang et al., The Unreasonable Effectiveness of Deep Features, CVPR 2018), version 0.1."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.core.weight_files import read_plain
from uir.layers.vgg import VGGFeatures
from uir.losses.reduction import matched
from uir.registry import LOSS_REGISTRY

_VGG_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")


@LOSS_REGISTRY.register()
class LPIPSLoss(nn.Module):
    """Weighted squared distance of VGG16's features, each of unit norm over its channels, summed over five layers.

    The authors advise VGG for training and AlexNet for measuring. Images are in [0, 1].

    Args:
        loss_weight: factor on the result.
        weights: torchvision's file of VGG16; None takes the usual places, `random` fixed random weights.
        linear_weights: the authors' file of the five layers' weights (`lin0.model.1.weight`, ...); default the one in
            the package `lpips`, which the extra `uir[metrics]` installs.

    Raises:
        ValueError: a file does not fit.
        FileNotFoundError: a file is missing; nothing is downloaded.
    """

    def __init__(
        self, loss_weight: float = 1.0, weights: str | None = None, linear_weights: Path | None = None
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.trunk = VGGFeatures(_VGG_LAYERS, "vgg16", weights=weights)
        file = find_linear_weights() if linear_weights is None else Path(linear_weights).expanduser()
        stored = read_plain(file)
        for index in range(len(_VGG_LAYERS)):
            key = f"lin{index}.model.1.weight"
            if key not in stored:
                raise ValueError(f"linear_weights: {file} has no '{key}'; expected LPIPS's file for VGG, version 0.1")
            self.register_buffer(f"linear{index}", stored[key].float(), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The mean distance of a pair of batches [B, 3, H, W].

        Raises:
            ValueError: the shapes differ, or the images are not RGB or smaller than 16 pixels.
        """
        prediction, target = matched(prediction, target)
        features = self.trunk(prediction)
        with torch.no_grad():
            wanted = self.trunk(target)
        parts = []
        with torch.autocast(prediction.device.type, enabled=False):
            for index, name in enumerate(_VGG_LAYERS):
                squared = (_unit(features[name]) - _unit(wanted[name])).square()
                parts.append(F.conv2d(squared, getattr(self, f"linear{index}").to(squared)).mean())
        return self.loss_weight * torch.stack(parts).sum()


def find_linear_weights() -> Path:
    """The file in the package `lpips`.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("lpips")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "LPIPSLoss needs the authors' weights of its five layers: install the package lpips "
            '(pip install "uir[metrics]"), or name its file weights/v0.1/vgg.pth with `linear_weights`'
        )
    return Path(spec.origin).parent / "weights" / "v0.1" / "vgg.pth"


def _unit(features: Tensor) -> Tensor:
    """Features of unit norm over the channels; as in the authors' code, 1e-10 is added to the norm."""
    features = features.float()
    # The root has no gradient at 0, where a ReLU has switched off all channels.
    norm = (features.square().sum(1, keepdim=True) + 1e-20).sqrt()
    return features / (norm + 1e-10)
