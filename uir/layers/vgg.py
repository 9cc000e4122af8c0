"""The convolutional layers of VGG (Simonyan and Zisserman, ICLR 2015), with torchvision's weights, not its code."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from uir.core.seeds import torch_generator
from uir.layers.trunk_weights import local_weights, read_trunk

# Convolutions per block and widths: configurations A, B, D and E of the paper.
_CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4),
}  # fmt: skip
_WIDTHS = (64, 128, 256, 512, 512)

# torchvision's ImageNet weights, by its file names.
WEIGHT_FILES = {
    "vgg11": "vgg11-8a719046.pth", "vgg11_bn": "vgg11_bn-6002323d.pth",
    "vgg13": "vgg13-19584684.pth", "vgg13_bn": "vgg13_bn-abd245e5.pth",
    "vgg16": "vgg16-397923af.pth", "vgg16_bn": "vgg16_bn-6c64b313.pth",
    "vgg19": "vgg19-dcbb9e9d.pth", "vgg19_bn": "vgg19_bn-c79401a0.pth",
}  # fmt: skip

RANDOM = "random"
"""In place of a file: fixed random weights."""
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def layer_names(vgg_type: str) -> list[str]:
    """Names of the convolutional part's layers in order: `conv1_1`, (`bn1_1`,) `relu1_1`, ..., `pool5`.

    Raises:
        ValueError: there is no such VGG.
    """
    if vgg_type not in WEIGHT_FILES:
        raise ValueError(f"vgg_type: expected one of {', '.join(WEIGHT_FILES)}, got {vgg_type!r}")
    kinds = ("conv", "bn", "relu") if vgg_type.endswith("_bn") else ("conv", "relu")
    names = []
    for block, convolutions in enumerate(_CONVOLUTIONS[vgg_type.removesuffix("_bn")], start=1):
        names += [f"{kind}{block}_{i}" for i in range(1, convolutions + 1) for kind in kinds]
        names.append(f"pool{block}")
    return names


class VGGFeatures(nn.Module):
    """Frozen VGG features by layer name; gradients flow to the image.

    Args:
        layers: the layers to return; the network ends with the last of them. `conv` features come before the ReLU.
        vgg_type: `vgg11`, `vgg13`, `vgg16` or `vgg19`, or one of these with `_bn`.
        use_input_norm: normalise images in [0, 1] by ImageNet's mean and deviation.
        range_norm: first convert images from [-1, 1] to [0, 1].
        weights: a file of torchvision's weights; default where torchvision or BasicSR stores it (`find_weights`).
            `random` gives fixed random weights of He's deviation, which is enough for tests and small trials.

    Raises:
        ValueError: a layer or the type is unknown, or the file does not contain this VGG.
        FileNotFoundError: there are no weights; nothing is downloaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        layers: Iterable[str],
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        range_norm: bool = False,
        weights: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.layers = list(layers)
        self.use_input_norm = use_input_norm
        self.range_norm = range_norm
        all_layers = layer_names(vgg_type)
        for layer in self.layers:
            if layer not in all_layers:
                raise ValueError(f"{vgg_type} has no layer {layer!r}; it has {', '.join(all_layers)}")
        if not self.layers:
            raise ValueError(f"no layer of {vgg_type} is named; it has {', '.join(all_layers)}")
        self.names = all_layers[: max(all_layers.index(layer) for layer in self.layers) + 1]
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD)[:, None, None], persistent=False)
        with torch.device("meta"):  # the file has the weights: random ones would change the global random state
            self.features = _trunk(self.names)
        if weights == RANDOM:
            self._draw()
        else:
            self._load(find_weights(vgg_type, weights), vgg_type)
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Features [B, C, h, w] of the named layers, of an RGB image [B, 3, H, W].

        Raises:
            ValueError: the image does not have three channels, or is too small for the pooling layers.
        """
        least = 2 ** sum(name.startswith("pool") for name in self.names)
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[-2:]) < least:
            raise ValueError(
                f"VGG: expected RGB images [B, 3, H, W] of at least {least} pixels, got {list(image.shape)}"
            )
        image = image.to(self.mean.dtype)
        if self.range_norm:
            image = (image + 1) / 2
        if self.use_input_norm:
            image = (image - self.mean) / self.std
        features = {}
        for name, layer in zip(self.names, self.features, strict=True):
            image = layer(image)
            if name in self.layers:
                features[name] = image
        return features

    def train(self, mode: bool = True) -> VGGFeatures:
        """Stay in eval mode: the batch norms must not follow the training images."""
        return super().train(False)

    def _draw(self) -> None:
        """Random weights that depend on the layer's place alone; batch norms change nothing."""
        self.features = self.features.to_empty(device="cpu")
        for index, layer in enumerate(self.features):
            if isinstance(layer, nn.Conv2d):
                generator = torch_generator(0, "vgg", index)
                layer.weight.data.normal_(0, (2 / (9 * layer.in_channels)) ** 0.5, generator=generator)
                layer.bias.data.zero_()  # type: ignore[union-attr]
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()

    def _load(self, path: Path, vgg_type: str) -> None:
        self.load_state_dict(read_trunk(path, vgg_type, self.state_dict().items()), assign=True)


def find_weights(vgg_type: str, weights: str | os.PathLike[str] | None = None) -> Path:
    """The file of torchvision's weights: the one that an option names, or where `local_weights` finds it.

    Raises:
        FileNotFoundError: it is not there; the message says where to put which file.
    """
    name = WEIGHT_FILES[vgg_type]
    return local_weights(vgg_type, name, f"https://download.pytorch.org/models/{name}", weights)


def _trunk(names: list[str]) -> nn.Sequential:
    """The layers in order, so that their indices are those of torchvision's `features`."""
    layers: list[nn.Module] = []
    channels = 3
    for name in names:
        width = _WIDTHS[int(name.split("_")[0][-1]) - 1]
        if name.startswith("conv"):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            channels = width
        elif name.startswith("bn"):
            layers.append(nn.BatchNorm2d(width))
        elif name.startswith("relu"):
            layers.append(nn.ReLU())  # not in place: the output of the convolution before it may be needed
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
