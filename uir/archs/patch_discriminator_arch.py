"""Discriminators that judge patches: PatchGAN of pix2pix, and the multi-scale one of pix2pixHD."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

from uir.layers.features import FeaturePoint
from uir.registry import ARCH_REGISTRY

Norm: TypeAlias = Literal["batch", "instance", "spectral", "none"]


@ARCH_REGISTRY.register()
class PatchDiscriminator(nn.Module):
    """PatchGAN: a logit for every overlapping patch (Isola et al., pix2pix, CVPR 2017, Sec. 3.2.2).

    [B, num_in_ch, H, W] to [B, 1, h, w]. Keys are the authors'.

    Args:
        num_in_ch: channels of the image.
        num_feat: width of the first layer, doubled by each of the next up to eight times it; 64 as published.
        n_layers: halving layers. The receptive field is 16, 34, 70 (published), 142, 286 pixels for 1, 2, 3, 4, 5; with
            0 the network judges single pixels.
        norm: `batch` (published), `instance`, `spectral` or `none`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, n_layers: int = 3, norm: Norm = "batch") -> None:
        super().__init__()
        groups = patch_layers(num_in_ch, num_feat, n_layers, norm, padding=1)
        self.model = nn.Sequential(*(layer for group in groups for layer in group))
        self.n_layers = n_layers

    @property
    def receptive_field(self) -> int:
        """Side of the patch behind a logit, in pixels."""
        field = 1
        for layer in reversed([layer for layer in self.model if isinstance(layer, nn.Conv2d)]):
            field = (field - 1) * layer.stride[0] + layer.kernel_size[0]
        return field

    def forward(self, image: Tensor) -> Tensor:
        """The logits.

        Raises:
            ValueError: the image is too small.
        """
        return _run(self.model, image, 3 * 2**self.n_layers if self.n_layers else 1)

    def feature_points(self) -> list[FeaturePoint]:
        """The activations."""
        places = [index for index, layer in enumerate(self.model) if isinstance(layer, nn.LeakyReLU)]
        return [_point(f"model.{place}", list(self.model)[: place + 1]) for place in places]


@ARCH_REGISTRY.register()
class MultiScaleDiscriminator(nn.Module):
    """The same PatchGAN at several scales, each with weights of its own (Wang et al., pix2pixHD, CVPR 2018, Sec. 3.2).

    [B, num_in_ch, H, W] to a list of logits [B, 1, h, w], the finest scale first. Keys are the authors'; `scale0` is
    the coarsest.

    Args:
        num_in_ch: channels of the image.
        num_feat: width of the first layer of each scale.
        n_layers: as in `PatchDiscriminator`, at least 1.
        num_d: number of scales, each half of the one before.
        norm: as in `PatchDiscriminator`; `instance` as published.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, num_in_ch: int = 3, num_feat: int = 64, n_layers: int = 3, num_d: int = 2, norm: Norm = "instance"
    ) -> None:
        super().__init__()
        if num_d < 1 or n_layers < 1:
            raise ValueError(f"num_d, n_layers: expected at least 1, got {num_d}, {n_layers}")
        self.num_d, self.n_layers = num_d, n_layers
        for scale in range(num_d):
            groups = patch_layers(num_in_ch, num_feat, n_layers, norm, padding=2, biased=True)
            for index, group in enumerate(groups):
                self.add_module(f"scale{scale}_layer{index}", nn.Sequential(*group))

    def _layers(self, scale: int) -> list[nn.Module]:
        """The layers of a scale, counted from the finest."""
        return [getattr(self, f"scale{self.num_d - 1 - scale}_layer{index}") for index in range(self.n_layers + 2)]

    def forward(self, image: Tensor) -> list[Tensor]:
        """The logits of every scale.

        Raises:
            ValueError: the image is too small.
        """
        logits = []
        for scale in range(self.num_d):
            if scale > 0:
                image = F.avg_pool2d(image, 3, 2, 1, count_include_pad=False)
            logits.append(_run(self._layers(scale), image, 2**self.n_layers))
        return logits

    def feature_points(self) -> list[FeaturePoint]:
        """All layers but the last of every scale."""
        points = []
        names = {module: name for name, module in self.named_children()}
        for scale in range(self.num_d):
            layers = self._layers(scale)
            for end in range(1, len(layers)):
                inner = [part for layer in layers[:end] for part in layer]  # type: ignore[attr-defined]
                points.append(_point(names[layers[end - 1]], inner, 2**scale))
        return points


def patch_layers(
    num_in_ch: int, num_feat: int, n_layers: int, norm: Norm, padding: int, biased: bool = False
) -> list[list[nn.Module]]:
    """The layers of a PatchGAN in groups, each of which ends with an activation; the last is the logits' convolution.

    Args:
        num_in_ch, num_feat, n_layers, norm: as in `PatchDiscriminator`.
        padding: of every convolution.
        biased: whether a convolution before a batch norm has a bias too.
    """
    if n_layers < 0 or num_feat < 1:
        raise ValueError(f"n_layers, num_feat: expected at least 0 and 1, got {n_layers}, {num_feat}")
    if norm not in ("batch", "instance", "spectral", "none"):
        raise ValueError(f"norm: expected batch, instance, spectral or none, got {norm!r}")
    bias = biased or norm != "batch"

    def conv(inputs: int, outputs: int, stride: int, bias: bool = True) -> nn.Module:
        if n_layers == 0:
            return nn.Conv2d(inputs, outputs, 1, bias=bias)
        layer = nn.Conv2d(inputs, outputs, 4, stride, padding, bias=bias)
        return spectral_norm(layer) if norm == "spectral" else layer

    def norms(channels: int) -> list[nn.Module]:
        kinds = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
        return [kinds[norm](channels)] if norm in kinds else []

    groups: list[list[nn.Module]] = [[conv(num_in_ch, num_feat, 2), nn.LeakyReLU(0.2)]]
    width = num_feat
    for index in range(1, max(n_layers, 1) + 1):
        inputs, width = width, num_feat * min(2**index, 8)
        stride = 1 if index >= n_layers else 2
        groups.append([conv(inputs, width, stride, bias), *norms(width), nn.LeakyReLU(0.2)])
    groups.append([conv(width, 1, 1, bias=n_layers > 0 or bias)])
    return groups


def _run(layers: nn.Sequential | list[nn.Module], image: Tensor, least: int) -> Tensor:
    if min(image.shape[-2:]) < least:
        raise ValueError(f"the discriminator needs at least {least} pixels a side, got {list(image.shape[-2:])}")
    for layer in layers:
        image = layer(image)
    return image


def _point(name: str, layers: list[nn.Module], stride: int = 1) -> FeaturePoint:
    """The feature point behind some layers in a row."""
    channels = 0
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            channels, stride = layer.out_channels, stride * layer.stride[0]
    return FeaturePoint(name, channels, stride)
