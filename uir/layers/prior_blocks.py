"""The parts of DiffIR (Xia et al., ICCV 2023): the encoder of the prior, the blocks that it steers, its diffusion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.padding import pad_to_multiple
from uir.layers.restormer_unet import RestormerUNet
from uir.layers.transposed_attention import ChannelNorm, GatedFeedForward, TransposedAttention, add_branch

SLOPE = 0.1
"""Of every leaky ReLU."""
STEP = 4
"""Pixels in each direction that become channels of the prior's encoder."""


def _modulated(x: Tensor, kernel: nn.Module, prior: Tensor) -> Tensor:
    """The channels of x, scaled and shifted by the prior."""
    scale, shift = kernel(prior)[:, :, None, None].chunk(2, dim=1)
    return x * scale + shift


class PriorAttention(TransposedAttention):
    """Attention between channels that the prior has scaled and shifted (paper Eq. 5). Keeps [B, C, H, W].

    Args:
        channels, heads, bias: as in `TransposedAttention`.
        prior_channels: numbers of the prior.
    """

    def __init__(self, channels: int, heads: int, bias: bool, prior_channels: int) -> None:
        super().__init__(channels, heads, bias)
        self.kernel = nn.Sequential(nn.Linear(prior_channels, 2 * channels, bias=False))

    def forward(self, x: Tensor, prior: Tensor) -> Tensor:  # type: ignore[override]
        """Attend, by the prior [B, prior_channels]."""
        return super().forward(_modulated(x, self.kernel, prior))


class PriorFeedForward(GatedFeedForward):
    """A gated feed-forward of channels that the prior has scaled and shifted (paper Eq. 6). Keeps [B, C, H, W].

    Args:
        channels, expansion, bias: as in `GatedFeedForward`.
        prior_channels: numbers of the prior.
    """

    def __init__(self, channels: int, expansion: float, bias: bool, prior_channels: int) -> None:
        super().__init__(channels, expansion, bias)
        self.kernel = nn.Sequential(nn.Linear(prior_channels, 2 * channels, bias=False))

    def forward(self, x: Tensor, prior: Tensor) -> Tensor:  # type: ignore[override]
        """Widen, gate, narrow, by the prior [B, prior_channels]."""
        return super().forward(_modulated(x, self.kernel, prior))


class PriorBlock(nn.Module):
    """Restormer's block, steered by the prior. Keeps [B, channels, H, W].

    Args:
        channels, heads, expansion, bias, norm: as in `TransformerBlock`.
        prior_channels: numbers of the prior.
    """

    def __init__(self, channels: int, heads: int, expansion: float, bias: bool, norm: str, prior_channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels, norm, 1e-5)
        self.attn = PriorAttention(channels, heads, bias, prior_channels)
        self.norm2 = ChannelNorm(channels, norm, 1e-5)
        self.ffn = PriorFeedForward(channels, expansion, bias, prior_channels)

    def forward(self, x: Tensor, prior: Tensor) -> Tensor:
        """One block; fastest in channels-last order."""
        x = add_branch(x, self.attn(self.norm1(x), prior))
        return add_branch(x, self.ffn(self.norm2(x), prior))


class PriorStage(nn.Sequential):
    """Blocks in a row that all get the prior."""

    def forward(self, x: Tensor, prior: Tensor) -> Tensor:  # type: ignore[override]
        """Run them."""
        for block in self:
            x = block(x, prior)
        return x


class PriorUNet(RestormerUNet):
    """Restormer's U-Net whose blocks are steered by a prior [B, prior_channels]; keys are the authors' of DiffIR.

    Args:
        prior_channels: numbers of the prior.
        channels, dim, num_blocks, num_refinement_blocks, heads, ffn_expansion_factor, bias, LayerNorm_type: as in
            `RestormerUNet`, for input and output alike.
    """

    _block = PriorBlock
    _stage = PriorStage

    def __init__(
        self,
        prior_channels: int,
        channels: int,
        dim: int,
        num_blocks: Sequence[int],
        num_refinement_blocks: int,
        heads: Sequence[int],
        ffn_expansion_factor: float,
        bias: bool,
        LayerNorm_type: str,  # noqa: N803
    ) -> None:
        super().__init__(
            channels, channels, dim, num_blocks, num_refinement_blocks, heads, ffn_expansion_factor, bias,
            LayerNorm_type, block_options={"prior_channels": prior_channels},
        )  # fmt: skip

    def forward(self, lq: Tensor, prior: Tensor) -> Tensor:  # type: ignore[override]
        """Restore a batch by its priors."""
        return self._restored(lq, prior)


class _ResidualBlock(nn.Module):
    """x + conv(leaky ReLU(conv(x))), under the key `body`. Keeps [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        changed: Tensor = self.body(x)
        return x + changed


class PriorEncoder(nn.Module):
    """The compact prior of images (CPEN of the paper): several [B, C, H, W] to one vector [B, 4·width]; any H, W.

    Args:
        channels: of all images together.
        width: channels of its first layers.
        blocks: residual blocks.
    """

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.E = nn.Sequential(
            nn.Conv2d(channels * STEP**2, width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            *(_ResidualBlock(width) for _ in range(blocks)),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.AdaptiveAvgPool2d(1),
        )
        self.mlp = nn.Sequential(
            nn.Linear(4 * width, 4 * width), nn.LeakyReLU(SLOPE), nn.Linear(4 * width, 4 * width), nn.LeakyReLU(SLOPE)
        )

    def forward(self, *images: Tensor) -> Tensor:
        """The prior of each item."""
        small = [F.pixel_unshuffle(pad_to_multiple(image, STEP), STEP) for image in images]
        prior: Tensor = self.mlp(self.E(torch.cat(small, 1)).flatten(1))
        return prior


class _DenoiserLayer(nn.Module):
    """A linear layer and a leaky ReLU under the key `resmlp`; without a residual, as published."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resmlp = nn.Sequential(nn.Linear(channels, channels), nn.LeakyReLU(SLOPE))

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels] to the same shape."""
        out: Tensor = self.resmlp(x)
        return out


class PriorDenoiser(nn.Module):
    """Predicts the clean prior [B, C] from a noisy one, the time and the condition.

    Args:
        channels: C.
        layers: further layers after the first one.
        timesteps: steps of the diffusion.
    """

    def __init__(self, channels: int, layers: int, timesteps: int) -> None:
        super().__init__()
        self.longest = 10 * timesteps
        self.resmlp = nn.Sequential(
            nn.Linear(2 * channels + 1, channels),
            nn.LeakyReLU(SLOPE),
            *(_DenoiserLayer(channels) for _ in range(layers)),
        )

    def forward(self, noisy: Tensor, time: int, condition: Tensor) -> Tensor:
        """The clean prior, at a time from 0 to timesteps - 1."""
        times = noisy.new_full((len(noisy), 1), time / self.longest)
        clean: Tensor = self.resmlp(torch.cat([condition, times, noisy], 1))
        return clean
