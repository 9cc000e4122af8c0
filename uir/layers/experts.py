"""Experts whose weights are mixed before a layer is used (DASR, Liang et al., ECCV 2022, Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SPREAD = 0.5
"""How far experts that start from scratch are from their mean, as a part of the deviation of a random draw."""


def mixed(experts: Tensor, shares: Tensor) -> Tensor:
    """Sums of experts: [K, ...] and shares [..., K] to [..., ...]; shares need not add up to 1."""
    return torch.tensordot(shares.to(experts.dtype), experts, 1)


def check_shares(shares: Tensor | None, experts: int, images: int, owner: str) -> Tensor:
    """The shares of the experts, [1 or B, K].

    Raises:
        ValueError: there are none, or they have another shape.
    """
    if shares is None:
        raise ValueError(
            f"{owner} needs `experts`, the weight of each of its {experts} experts: call it as net(lq, experts) with "
            "the output of a DegradationPredictor's route"
        )
    if shares.ndim != 2 or shares.shape[1] != experts or shares.shape[0] not in (1, images):
        raise ValueError(
            f"{owner}: expected `experts` of the shape [{images}, {experts}], one row for each image, got "
            f"{list(shares.shape)}"
        )
    return shares


def spread_experts(draws: Tensor) -> Tensor:
    """Experts [K, ...] for a training from scratch, out of K independent draws of a layer's usual start.

    They differ, and their mean is the first draw: with equal shares of 1 / K the layer starts as the plain one does.
    (The mean of independent draws would be too small, and equal experts would learn alike.)
    """
    return draws[:1] + SPREAD * (draws - draws.mean(0, keepdim=True))


def copied_experts(weights: dict[str, Tensor], into: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a plain network, copied into all experts of its expert version.

    Args:
        weights: the state of the plain network; a tensor that already has the experts' shape is not changed.
        into: the state of the expert version, by the same keys.
    """
    return {
        key: value.expand(into[key].shape).clone()
        if key in into and into[key].shape[1:] == value.shape and into[key].ndim == value.ndim + 1
        else value
        for key, value in weights.items()
    }


def without_expert_axis(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A conversion (`Module.to`) that takes experts [K, C, ...] of convolutions as one weight [K·C, ...].

    `to(memory_format=torch.channels_last)` takes only tensors of four dimensions.
    """

    def convert(tensor: Tensor) -> Tensor:
        if tensor.ndim != 5:
            return function(tensor)
        return function(tensor.flatten(0, 1)).unflatten(0, tensor.shape[:2])

    return convert


class DynamicConv2d(nn.Module):
    """A convolution whose weight and bias are a sum of those of K experts, another one for each image.

    Keys are the authors': `weight` [K, out, in, k, k] and `bias` [K, out]. In the authors' code the bias is not
    initialised. Here it starts as a plain convolution's.

    Args:
        in_channels, out_channels: of [B, in, H, W] and [B, out, H, W].
        kernel_size: odd; the padding keeps the size.
        experts: K.
        stride: of the convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, experts: int = 5, stride: int = 1
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.experts = stride, kernel_size // 2, experts
        draws = [nn.Conv2d(in_channels, out_channels, kernel_size) for _ in range(experts)]
        self.weight = nn.Parameter(spread_experts(torch.stack([draw.weight.detach() for draw in draws])))
        self.bias = nn.Parameter(spread_experts(torch.stack([bias_of(draw) for draw in draws])))

    def forward(self, x: Tensor, experts: Tensor) -> Tensor:
        """Filter each image by its own kernel.

        Args:
            x: [B, in, H, W].
            experts: the experts' weights [B, K], or [1, K] for all images.
        """
        weight, bias = mixed(self.weight, experts), mixed(self.bias, experts)
        if len(weight) == 1:
            return F.conv2d(x, weight[0], bias[0], self.stride, self.padding)
        kernels = zip(x.split(1), weight, bias, strict=True)
        return torch.cat([F.conv2d(image, kernel, own, self.stride, self.padding) for image, kernel, own in kernels])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        return super()._apply(without_expert_axis(fn), recurse)


def bias_of(layer: nn.Conv2d) -> Tensor:
    """The bias of a convolution, without a history."""
    if layer.bias is None:
        raise ValueError("the convolution has no bias")
    return layer.bias.detach()
