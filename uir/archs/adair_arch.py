"""AdaIR: Adaptive All-in-One Image Restoration via Frequency Mining and Modulation (Cui et al., ICLR 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.pointwise import PointwiseConv2d
from uir.layers.restormer_unet import RestormerUNet, sizes_of
from uir.layers.transposed_attention import CrossTransposedAttention
from uir.registry import ARCH_REGISTRY

# The decoder level that a module comes before -> the number in its key.
_NUMBERS = {3: 1, 2: 2, 1: 3}


class SpatialGate(nn.Module):
    """A weight for every pixel, from the largest and the mean channel: [B, C, H, W] to [B, 1, H, W] in (0, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The weights."""
        return torch.sigmoid(self.spatial(torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)))


class ChannelGate(nn.Module):
    """A weight for every channel, from its mean and its largest pixel: [B, C, H, W] to [B, C, 1, 1] in (0, 1).

    Args:
        channels: C.
        reduction: C divided by the width between the two layers.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(
            PointwiseConv2d(channels, hidden, bias=False), nn.ReLU(), PointwiseConv2d(hidden, channels, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The weights."""
        return torch.sigmoid(self.mlp(x.mean((2, 3), keepdim=True)) + self.mlp(x.amax((2, 3), keepdim=True)))


class FrequencyModulation(nn.Module):
    """Each band weights the other one; both are then added (FMoM of the paper). Keeps [B, C, H, W].

    Args:
        channels, reduction: as in `ChannelGate`.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.SpatialGate = SpatialGate()
        self.ChannelGate = ChannelGate(channels, reduction)
        self.proj = PointwiseConv2d(channels, channels)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """The two bands in one map."""
        mixed: Tensor = self.proj(low * self.SpatialGate(high) + high * self.ChannelGate(low))
        return mixed


class FrequencyModule(nn.Module):
    """Changes the decoder's features by low and high frequencies of the image (paper Fig. 2). Keeps [B, C, H, W].

    Args:
        channels: C.
        heads: attention heads.
        bias: whether the convolutions of the attention have one.
        grid, reduction: `frequency_grid` and `gate_reduction` of `AdaIR`.
    """

    def __init__(self, channels: int, heads: int, bias: bool, grid: int, reduction: int) -> None:
        super().__init__()
        self.grid = grid
        self.para1 = nn.Parameter(torch.zeros(channels, 1, 1))
        self.para2 = nn.Parameter(torch.ones(channels, 1, 1))
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        hidden = max(1, channels // 8)
        self.rate_conv = nn.Sequential(
            PointwiseConv2d(channels, hidden, bias=False), nn.GELU(), PointwiseConv2d(hidden, 2, bias=False)
        )
        # Sides of a mask are whole numbers, so that no gradient reaches what chooses them, in the published code too.
        self.rate_conv.requires_grad_(False)
        self.channel_cross_l = CrossTransposedAttention(channels, heads, bias)
        self.channel_cross_h = CrossTransposedAttention(channels, heads, bias)
        self.channel_cross_agg = CrossTransposedAttention(channels, heads, bias)
        self.frequency_refine = FrequencyModulation(channels, reduction)

    def forward(self, image: Tensor, x: Tensor) -> Tensor:
        """Change the features.

        Args:
            image: [B, 3, H, W].
            x: the features [B, C, h, w].
        """
        small = F.interpolate(image, x.shape[-2:], mode="bilinear", align_corners=False)
        low, high = self._split(self.conv1(small.contiguous(memory_format=torch.channels_last)))
        # The authors' names are the other way around.
        from_high, from_low = self.channel_cross_l(high, x), self._attend_from_low(low, x)
        agreed = self.channel_cross_agg(x, self.frequency_refine(from_low, from_high))
        return agreed * self.para1 + x * self.para2

    def _split(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """The magnitudes of the low and of the high frequencies; None for low ones that are zero everywhere.

        Low are the frequencies in a rectangle around zero, of the half sides ⌊⌊h / grid⌋ · s⌋ and ⌊⌊w / grid⌋ · s'⌋.
        The shares s and s' in (0, 1) depend on the image, so that sides below twice the grid give an empty rectangle.
        """
        steps = [side // self.grid for side in x.shape[-2:]]
        counting = x.device.type == "meta"  # of multiply-adds: compute as the authors do
        if min(steps) < 2 and not counting:
            return None, x.abs()
        shares = torch.sigmoid(self.rate_conv(x.mean((2, 3), keepdim=True))).float()
        inside = torch.ones(len(x), 1, *x.shape[-2:], dtype=torch.bool, device=x.device)
        for axis, (side, step) in enumerate(zip(x.shape[-2:], steps, strict=True)):
            half = (shares[:, axis, :, :, None] * step).int()  # [B, 1, 1, 1]
            frequency = torch.fft.fftfreq(side, 1 / side, device=x.device)
            frequency = frequency.view(-1, 1) if axis == 0 else frequency
            inside &= (frequency >= -half) & (frequency < half)
        if not counting and not inside.any():
            return None, x.abs()
        precise = x.float().contiguous()
        low = torch.fft.ifft2(torch.fft.fft2(precise) * inside)
        return low.abs().to(x.dtype), (precise - low).abs().to(x.dtype)

    def _attend_from_low(self, low: Tensor | None, x: Tensor) -> Tensor:
        attention = self.channel_cross_h
        if low is None and attention.q.bias is None:
            even = attention.attend_evenly(x)
            # The parameters of the queries get the gradient zero, as in the published code.
            idle = (attention.temperature, attention.q.weight, attention.q_dwconv.weight)
            return even + 0 * sum(parameter.sum() for parameter in idle) if torch.is_grad_enabled() else even
        attended: Tensor = attention(torch.zeros_like(x) if low is None else low, x)
        return attended


@ARCH_REGISTRY.register()
class AdaIR(RestormerUNet):
    """Restormer whose decoder looks at the image's low and high frequencies. Input and output [B, C, H, W]; any H, W.

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`, with the prefix `net.`
    of their trainer, and without the layers that never run.

    With the published grid of 128 the low frequencies are zero for images with a side below 512 pixels, in training
    always; a smaller grid, such as 4, is what the paper describes.

    Args:
        inp_channels: channels of the image; 3.
        out_channels: channels of the output; 3.
        dim: channels at full resolution, even; the next levels have 2, 4 and 8 times as many.
        num_blocks: blocks at each of the four levels, fine to coarse.
        num_refinement_blocks: blocks at full resolution after the decoder.
        heads: attention heads at each level; the frequency modules have those of the third level.
        ffn_expansion_factor: width of the feed-forward, as a multiple of a level's channels.
        bias: whether the convolutions have one.
        LayerNorm_type: `WithBias` or `BiasFree`.
        decoder: the frequency modules; must be true, because without them this is Restormer.
        window_size: raises `pad_multiple` to a multiple of it; this has no other effect.
        frequency_grid: the low frequencies are at most the side of the features divided by this; the authors fix 128.
        gate_reduction: channels divided by the width of the channel gates; the authors fix 16.

    Raises:
        ValueError: an argument does not fit the others.
    """

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        LayerNorm_type: str = "WithBias",  # noqa: N803
        decoder: bool = True,
        window_size: int = 1,
        frequency_grid: int = 128,
        gate_reduction: int = 16,
    ) -> None:
        if not decoder:
            raise ValueError(
                "AdaIR.decoder: false removes the frequency modules; Restormer is the network without them"
            )
        if inp_channels != 3:
            raise ValueError(f"AdaIR.inp_channels: the frequency modules read 3 channels, got {inp_channels}")
        for key, number in (("frequency_grid", frequency_grid), ("gate_reduction", gate_reduction)):
            if number < 1:
                raise ValueError(f"AdaIR.{key}: expected at least 1, got {number}")
        super().__init__(
            inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, heads, ffn_expansion_factor, bias,
            LayerNorm_type, window_size=window_size,
        )  # fmt: skip
        for level, number in _NUMBERS.items():
            module = FrequencyModule(dim * 2**level, heads[2], bias, frequency_grid, gate_reduction)
            self.add_module(f"fre{number}", module)

    def decoder_blocks(self) -> list[str]:
        """The blocks after the encoder, with the frequency modules among them."""
        blocks = super().decoder_blocks()
        for level, number in _NUMBERS.items():
            blocks.insert(blocks.index(f"decoder_level{level}.0"), f"fre{number}")
        return blocks

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a frequency module belongs to the level after it."""
        groups = super().depths()
        for level, number in _NUMBERS.items():
            next(names for names in groups if f"decoder_level{level}" in names).insert(0, f"fre{number}")
        return groups

    def _refine_level(self, level: int, x: Tensor, image: Tensor) -> Tensor:
        refined: Tensor = getattr(self, f"fre{_NUMBERS[level]}")(image, x)
        return refined

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The keys of published checkpoints without the trainer's `net.` and the layers that never run."""
        if any(key.startswith("net.") for key in state):
            state = {key.removeprefix("net."): value for key, value in state.items() if key.startswith("net.")}
        unused = tuple(f"fre{number}.{name}." for number in _NUMBERS.values() for name in ("conv", "score_gen"))
        return {key: value for key, value in state.items() if not key.startswith(unused)}

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights, with the published grid; None if they are another's."""
        state = AdaIR.convert_state_dict(dict(state))
        gate = state.get("fre1.frequency_refine.ChannelGate.mlp.0.weight")
        sizes = sizes_of(state)
        if sizes is None or gate is None:
            return None
        return {"type": "AdaIR", **sizes, "gate_reduction": gate.shape[1] // gate.shape[0]}
