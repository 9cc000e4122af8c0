"""Enlarging features by convolutions and pixel shuffling, with a faster equivalent for linear layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# With fewer pixels, the layers are run directly: collapsing them would cost more than it saves.
_FEWEST_PIXELS = 48 * 48


def prime_factors(number: int) -> list[int]:
    """2, 2, 3 for 12; none for 1."""
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


def pixel_shuffle_upsampler(channels: int, scale: int) -> nn.Sequential:
    """EDSR's upsampler: for each prime factor of `scale` a 3×3 convolution and a pixel shuffle, no activation.

    Args:
        channels: C; [B, C, H, W] becomes [B, C, H·scale, W·scale].
        scale: at least 1.

    Raises:
        ValueError: the scale is less than 1.
    """
    if scale < 1:
        raise ValueError(f"scale: expected an integer of at least 1, got {scale}")
    layers: list[nn.Module] = []
    for factor in prime_factors(scale):
        layers += [nn.Conv2d(channels, channels * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


def run_linear_tail(tail: nn.Module, features: Tensor, scale: int) -> Tensor:
    """The result of `tail(features)`, for a tail that is linear except for its biases; faster, in training too.

    Such a tail (3×3 convolutions and pixel shuffles, up to the image's few channels) equals one 5×5 convolution with
    channels · scale² outputs and a pixel shuffle. The two differ only in the outermost pixels, where every convolution
    of the tail pads with zeros: the tail itself computes those pixels. The weights of the 5×5 convolution are computed
    from those of the tail, so the gradients of the tail's weights are the same too.

    The tail itself computes everything if one of its layers has a hook, in 16 bits and in compiled networks.

    Args:
        tail: [B, C, H, W] to [B, K, H·scale, W·scale]; its result for a pixel depends on 5×5 pixels.
        features: [B, C, H, W].
        scale: scale of the tail.
    """
    height, width = features.shape[-2:]
    whole = (
        features.device.type == "meta"
        or features.dtype not in (torch.float32, torch.float64)
        or torch.is_autocast_enabled(features.device.type)
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or scale == 1
        or min(height, width) < 8
        or height * width < _FEWEST_PIXELS
        or any(layer._forward_hooks or layer._forward_pre_hooks for layer in tail.modules())
    )
    if whole:
        restored: Tensor = tail(features)
        return restored
    weight, bias = collapse_linear_tail(tail, features, scale)
    inner = F.pixel_shuffle(F.conv2d(features, weight, bias, padding=1), scale)  # without the outermost pixels
    rows = slice(scale, -scale)
    left = tail(features[..., :, :3])[..., rows, :scale]
    right = tail(features[..., :, -3:])[..., rows, -scale:]
    top = tail(features[..., :3, :])[..., :scale, :]
    bottom = tail(features[..., -3:, :])[..., -scale:, :]
    return torch.cat((top, torch.cat((left, inner, right), -1), bottom), -2)


def collapse_linear_tail(tail: nn.Module, features: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """The single convolution that equals a linear tail: weight [K·scale², C, 5, 5] and bias [K·scale²].

    The weight is the response of the tail without its biases to single pixels of value 1, the bias its response to 0.
    """
    channels = features.shape[1]
    lit = torch.eye(channels, dtype=features.dtype, device=features.device)[:, :, None, None]
    unbiased = {key: p if p.ndim > 1 else torch.zeros_like(p) for key, p in tail.named_parameters()}
    answers = torch.func.functional_call(tail, unbiased, (F.pad(lit, (2, 2, 2, 2)),))
    weight = F.pixel_unshuffle(answers, scale).flip(-2, -1).transpose(0, 1)
    darkness = F.pixel_unshuffle(tail(features.new_zeros(1, channels, 5, 5)), scale)
    return weight.contiguous(), darkness[0, :, 2, 2]
