"""DASR: Unsupervised Degradation Representation Learning for Blind Super-Resolution (Wang et al., CVPR 2021)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.code_modulator import Stretch
from uir.layers.degradation_aware_conv import DAConv, in_fast_order
from uir.layers.degradation_code import DegradationCode, require_code
from uir.layers.features import FeaturePoint
from uir.layers.published_parts import part_of
from uir.layers.upsampling import pixel_shuffle_upsampler, run_linear_tail
from uir.registry import ARCH_REGISTRY

CodeLayer = Literal["da_conv", "kernels", "stretch"]

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


class DABlock(nn.Module):
    """Two degradation-aware convolutions, each before a plain one, added to the input (paper Fig. 3b).

    Args:
        channels: C of input and output [B, C, H, W], and width of the code [B, C].
        reduction: reduction of the channel gates.
        code_layer: as in `DASR`.
    """

    def __init__(self, channels: int, reduction: int = 8, code_layer: CodeLayer = "da_conv") -> None:
        super().__init__()
        self.da_conv1, self.da_conv2 = (
            Stretch(channels)
            if code_layer == "stretch"
            else DAConv(channels, reduction=reduction, gated=code_layer == "da_conv")
            for _ in range(2)
        )
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """One block."""
        branch = F.leaky_relu(self.da_conv1(x, code), 0.1, inplace=True)
        branch = F.leaky_relu(self.conv1(branch), 0.1, inplace=True)
        branch = F.leaky_relu(self.da_conv2(branch, code), 0.1, inplace=True)
        return add(self.conv2(branch), x)


class DAGroup(nn.Module):
    """Blocks and a 3×3 convolution, added to the input (paper Fig. 3a).

    Args:
        channels, reduction, code_layer: as in `DABlock`.
        n_blocks: number of blocks.
    """

    def __init__(self, channels: int, n_blocks: int, reduction: int = 8, code_layer: CodeLayer = "da_conv") -> None:
        super().__init__()
        blocks: list[nn.Module] = [DABlock(channels, reduction, code_layer) for _ in range(n_blocks)]
        self.body = nn.ModuleList([*blocks, nn.Conv2d(channels, channels, 3, padding=1)])

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """One group."""
        branch = x
        for block in self.body[:-1]:
            branch = block(branch, code)
        return add(self.body[-1](branch), x)


def add(branch: Tensor, x: Tensor) -> Tensor:
    """branch + x; the sum overwrites the branch if no gradient needs it."""
    if torch.is_grad_enabled() or branch.dtype != x.dtype:
        return branch + x
    return branch.add_(x)


def _five_layers(before: int, after: int) -> nn.Sequential:
    """Five linear layers with LeakyReLU between them: [B, before] to [B, after]."""
    layers: list[nn.Module] = [nn.Linear(before, after)]
    for _ in range(4):
        layers += [nn.LeakyReLU(0.1), nn.Linear(after, after)]
    return nn.Sequential(*layers)


def mean_shift(sign: int, rgb_range: float) -> nn.Conv2d:
    """The fixed 1×1 convolution that subtracts DIV2K's mean colour (-1) or adds it (1)."""
    shift = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        shift.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        shift.bias.copy_(sign * rgb_range * torch.tensor(DIV2K_MEAN))  # type: ignore[union-attr]
    return shift.requires_grad_(False)


@ARCH_REGISTRY.register()
class DASR(nn.Module):
    """DASR's restorer, controlled by the `vector` of a degradation code. [B, 3, H, W] to `scale` times the size.

    Parameter names are the authors': the part `G.` of their checkpoints loads with `strict=True`.

    Args:
        scale: scale of the output; the authors publish 2, 3 and 4.
        n_groups: number of groups of blocks.
        n_blocks: number of blocks per group.
        n_feats: channels of the features; the code is compressed to as many.
        reduction: reduction of the channel gates.
        code_channels: width of the code's vector.
        rgb_range: the pixel range of the weights' training; the images passed in are in [0, 1].
        code_layer: the layer that uses the code. `kernels`: without the channel gates (Model 3 of the paper's
            ablation). `stretch`: the code is repeated over all pixels, and a plain convolution follows (Model 2).
        kernel_size: K; five linear layers make the vector from the code's `kernel` [B, 1, K, K] (Model 5, with the true
            kernel: `train.code: kernel`). None uses the code's own vector.

    Raises:
        ValueError: a number is below 1, the reduction does not fit, or there is no such layer.
    """

    pad_multiple = 1

    def __init__(
        self,
        scale: int = 4,
        n_groups: int = 5,
        n_blocks: int = 5,
        n_feats: int = 64,
        reduction: int = 8,
        code_channels: int = 256,
        rgb_range: float = 255.0,
        code_layer: CodeLayer = "da_conv",
        kernel_size: int | None = None,
    ) -> None:
        super().__init__()
        if kernel_size is not None and kernel_size < 1:
            raise ValueError(f"DASR.kernel_size: expected a number of at least 1, got {kernel_size}")
        if code_layer not in get_args(CodeLayer):
            raise ValueError(f"DASR.code_layer: expected {', '.join(get_args(CodeLayer))}, got '{code_layer}'")
        if min(scale, n_groups, n_blocks, n_feats) < 1:
            raise ValueError(
                "DASR: scale, n_groups, n_blocks and n_feats must be at least 1, "
                f"got {scale}, {n_groups}, {n_blocks} and {n_feats}"
            )
        self.scale = scale
        self.n_feats = n_feats
        self.code_channels = code_channels
        self.rgb_range = rgb_range
        self.kernel_size = kernel_size
        if kernel_size is not None:
            self.from_kernel = _five_layers(kernel_size**2, code_channels)
        self.sub_mean = mean_shift(-1, rgb_range)
        self.add_mean = mean_shift(1, rgb_range)
        self.head = nn.Sequential(nn.Conv2d(3, n_feats, 3, padding=1))
        self.compress = nn.Sequential(nn.Linear(code_channels, n_feats, bias=False), nn.LeakyReLU(0.1))
        groups: list[nn.Module] = [DAGroup(n_feats, n_blocks, reduction, code_layer) for _ in range(n_groups)]
        self.body = nn.ModuleList([*groups, nn.Conv2d(n_feats, n_feats, 3, padding=1)])
        self.tail = nn.Sequential(pixel_shuffle_upsampler(n_feats, scale), nn.Conv2d(n_feats, 3, 3, padding=1))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each group."""
        return [FeaturePoint(f"body.{index}", self.n_feats, 1) for index in range(len(self.body) - 1)]

    def forward(self, lq: Tensor, code: DegradationCode | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, 3, H, W] in [0, 1]; any H, W.
            code: its `vector` [B, code_channels].

        Returns:
            [B, 3, H·scale, W·scale], not clipped.

        Raises:
            ValueError: there is no code, or it has no vector of that width, or no kernel of that size.
        """
        vector = self.compress(self._vector(code))
        shallow = self.head(self.sub_mean(in_fast_order(lq) * self.rgb_range))
        x = shallow
        for group in self.body[:-1]:
            x = group(x, vector)
        x = add(self.body[-1](x), shallow)
        restored = run_linear_tail(nn.Sequential(self.tail, self.add_mean), x, self.scale)
        return (restored / self.rgb_range).contiguous()

    def _vector(self, code: DegradationCode | None) -> Tensor:
        """The vector [B, code_channels] of a code, or what the layers make of its kernel."""
        if self.kernel_size is None:
            return require_code(code, "vector", "DASR", self.code_channels)
        kernel = require_code(code, "kernel", "DASR with a kernel_size")
        if kernel.shape[1:] != (1, self.kernel_size, self.kernel_size):
            raise ValueError(
                f"DASR: expected a code with kernels [B, 1, {self.kernel_size}, {self.kernel_size}], "
                f"got {list(kernel.shape)}; change kernel_size"
            )
        vector: Tensor = self.from_kernel(kernel.flatten(1))
        return vector

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The restorer's part of a published checkpoint, which also contains the encoder; others are unchanged."""
        return part_of(state, ["G."])
