"""U-Nets that also take a time, as diffusion restorers have them: DiffUIR, IR-SDE and the latent network of Refusion.

The results are those of the papers' code. The computation is arranged for speed: everything runs in channels-last
order, scale and shift of the time go into the normalisation or the convolution before them, linear attention
goes through the pixels in parts, and a convolution after nearest enlargement runs on the small map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.features import FeaturePoint
from uir.layers.global_statistic import GlobalStatistic
from uir.layers.pointwise import PointwiseConv2d

GROUPS = 8
_FEWEST_PIXELS = 1024
_PIXELS = 4096  # that attention takes at once, so that what it computes of them stays in the cache


class SinusoidalEmbedding(nn.Module):
    """Times [B] as sines and cosines of `channels` / 2 falling frequencies: [B, channels]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, time: Tensor) -> Tensor:
        """Embed."""
        half = self.channels // 2
        rates = torch.exp(torch.arange(half, device=time.device) * (-math.log(10000) / max(half - 1, 1)))
        angles = time.float()[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], -1)


class GainNorm(nn.Module):
    """Layer normalisation of every pixel over its channels with a gain alone: [B, C, H, W] to the same."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise and scale; the result is in channels-last order."""
        gain = self.g.flatten()
        return F.layer_norm(x.permute(0, 2, 3, 1), gain.shape, gain, None, self.eps).permute(0, 3, 1, 2)


class StandardisedConv2d(nn.Conv2d):
    """A 3×3 convolution whose weights have mean 0 and variance 1 for each output channel. Keeps [B, ·, H, W]."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(in_channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise the weights and convolve."""
        flat = self.weight.flatten(1)
        weight = F.layer_norm(flat, flat.shape[1:], eps=1e-5).view_as(self.weight)
        return F.conv2d(x, weight.to(x.dtype), self.bias, padding=1)


def _silu(x: Tensor) -> Tensor:
    return F.silu(x, inplace=not torch.is_grad_enabled())


class Block(nn.Module):
    """3×3 convolution, scale and shift by the time, SiLU: [B, in, H, W] to [B, channels, H, W].

    Args:
        in_channels, channels: of input and output.
        normed: standardised weights with a bias, and group normalisation (DiffUIR); else a convolution without a bias.
    """

    def __init__(self, in_channels: int, channels: int, normed: bool) -> None:
        super().__init__()
        self.proj = StandardisedConv2d(in_channels, channels) if normed else nn.Conv2d(
            in_channels, channels, 3, padding=1, bias=False
        )  # fmt: skip
        self.norm = nn.GroupNorm(GROUPS, channels) if normed else None

    def forward(self, x: Tensor, film: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Convolve; `film` has a scale and a shift [B, channels] for every image."""
        if torch.is_grad_enabled() or film is None or len(x) > 1:
            x = self.proj(x)
            x = x if self.norm is None else self.norm(x)
            if film is not None:
                scale, shift = (part[:, :, None, None] for part in film)
                x = torch.addcmul(shift, x, 1 + scale)
            return _silu(x)
        scale, shift = (part[0] for part in film)
        if self.norm is None:
            weight = self.proj.weight * (1 + scale).view(-1, 1, 1, 1)
            return _silu(F.conv2d(x, weight.to(x.dtype), shift.to(x.dtype), padding=1))
        weight, bias = self.norm.weight * (1 + scale), self.norm.bias * (1 + scale) + shift
        return _silu(F.group_norm(self.proj(x), GROUPS, weight, bias, self.norm.eps))


class ResidualBlock(nn.Module):
    """Two blocks with a shortcut: [B, in, H, W] to [B, channels, H, W].

    Args:
        in_channels, channels, normed: as in `Block`.
        time_channels: width of the embedded time; None for a block without time.
    """

    def __init__(self, in_channels: int, channels: int, normed: bool, time_channels: int | None) -> None:
        super().__init__()
        if time_channels is not None:
            self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_channels, 2 * channels))
        self.block1 = Block(in_channels, channels, normed)
        self.block2 = Block(channels, channels, normed)
        same = in_channels == channels
        self.res_conv = nn.Identity() if same else PointwiseConv2d(in_channels, channels, bias=normed)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """One block; `time` [B, time_channels]."""
        film = None
        if time is not None:
            scale, shift = self.mlp(time).chunk(2, 1)
            film = (scale, shift)
        branch = self.block2(self.block1(x, film))
        shortcut = self.res_conv(x)
        return branch + shortcut if torch.is_grad_enabled() else branch.add_(shortcut)


class LinearAttention(nn.Module):
    """Attention whose cost grows with the pixels, not with their square. Keeps [B, channels, H, W].

    Queries are normalised over a head's channels, keys over all pixels; values are divided by the number of pixels.
    """

    def __init__(self, channels: int, heads: int = 4, head_channels: int = 32) -> None:
        super().__init__()
        self.heads, self.head_channels = heads, head_channels
        hidden = heads * head_channels
        self.to_qkv = PointwiseConv2d(channels, 3 * hidden, bias=False)
        self.to_out = nn.Sequential(PointwiseConv2d(hidden, channels), GainNorm(channels))
        self.shared = GlobalStatistic()

    def forward(self, x: Tensor) -> Tensor:
        """Attend; fastest in channels-last order."""
        size, norm = x.shape[-2:], self.to_out[1]
        conv: Any = self.to_out[0]
        tokens = x.permute(0, 2, 3, 1).flatten(1, 2)
        streamed = x.device.type == "cpu" and not torch.is_grad_enabled()
        parts = tokens.split(_PIXELS, 1) if streamed else (tokens,)
        context = self.shared(self._context(parts, tokens.shape[1]))
        if x.device.type == "meta":  # for counting multiply-adds, compute as in the paper
            attended = (self._projected(tokens, 0).softmax(-1).transpose(1, 2) @ context).transpose(1, 2).flatten(2)
            counted: Tensor = norm(conv(attended.transpose(1, 2).unflatten(2, size)))
            return counted
        # The products with context and projection are both linear: one matrix [hidden, C] per image does both.
        projection = conv.weight.view(len(conv.weight), self.heads, -1).permute(1, 2, 0)
        joint = (context @ projection.to(context.dtype)).flatten(1, 2)
        attended = torch.cat([self._projected(part, 0).float().softmax(-1).flatten(2) @ joint for part in parts], 1)
        normed: Tensor = norm((attended + conv.bias).unflatten(1, size).permute(0, 3, 1, 2))
        return normed

    def _projected(self, tokens: Tensor, which: int) -> Tensor:
        """Queries, keys or values (0, 1, 2) of tokens [B, n, C]: [B, n, heads, c]."""
        weight = self.to_qkv.weight.chunk(3)[which].flatten(1)
        return F.linear(tokens, weight).unflatten(2, (self.heads, -1))

    def _context(self, parts: Sequence[Tensor], pixels: int) -> Tensor:
        """What all pixels together say: [B, heads, c, c], the scale of the queries included.

        The softmax over the pixels goes through the parts one by one: with each, what was summed before is scaled to
        the largest key so far.
        """
        scale = self.head_channels**-0.5 / pixels
        if len(parts) == 1:
            keys, values = (self._projected(parts[0], which).float() for which in (1, 2))
            return keys.softmax(1).permute(0, 2, 3, 1) @ values.transpose(1, 2) * scale
        largest = product = total = None
        for part in parts:
            keys, values = (self._projected(part, which).float() for which in (1, 2))
            most = keys.amax(1, keepdim=True) if largest is None else torch.maximum(largest, keys.amax(1, keepdim=True))
            raised = keys.sub_(most).exp_()
            added, sums = raised.permute(0, 2, 3, 1) @ values.transpose(1, 2), raised.sum(1)[..., None]
            if largest is not None and product is not None and total is not None:
                factor = torch.exp(largest - most)[:, 0, :, :, None]
                added, sums = added + product * factor, sums + total * factor
            largest, product, total = most, added, sums
        assert product is not None
        assert total is not None
        return product * scale / total


class PixelAttention(nn.Module):
    """Attention between all pixels. Keeps [B, channels, H, W]."""

    def __init__(self, channels: int, heads: int = 4, head_channels: int = 32) -> None:
        super().__init__()
        self.heads, hidden = heads, heads * head_channels
        self.to_qkv = PointwiseConv2d(channels, 3 * hidden, bias=False)
        self.to_out = PointwiseConv2d(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        tokens = self.to_qkv(x).permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (3, self.heads, -1))
        queries, keys, values = (part.squeeze(2).transpose(1, 2) for part in tokens.split(1, 2))
        if x.device.type == "meta":
            attended = (queries @ keys.transpose(2, 3)).softmax(-1) @ values
        else:
            attended = F.scaled_dot_product_attention(queries, keys, values)
        return self.to_out(attended.transpose(1, 2).flatten(2).unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2))


class _Normed(nn.Module):
    """A part behind a norm, under the authors' keys `fn` and `norm`."""

    def __init__(self, fn: nn.Module, channels: int) -> None:
        super().__init__()
        self.fn, self.norm = fn, GainNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """fn(norm(x))."""
        computed: Tensor = self.fn(self.norm(x))
        return computed


class Residual(nn.Module):
    """x + fn(norm(x)) under the authors' keys `fn.fn` and `fn.norm`; keeps [B, channels, H, W]."""

    def __init__(self, fn: nn.Module, channels: int) -> None:
        super().__init__()
        self.fn = _Normed(fn, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add what the part computes."""
        branch: Tensor = self.fn(x)
        return x + branch if torch.is_grad_enabled() or branch.dtype != x.dtype else branch.add_(x)


class UpsampleConv(nn.Sequential):
    """Nearest enlargement by 2 and a 3×3 convolution: [B, in, H, W] to [B, out, 2H, 2W]; its key is `1`."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2), nn.Conv2d(in_channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge and convolve."""
        conv: Any = self[1]
        small = x.shape[-2] * x.shape[-1] < _FEWEST_PIXELS  # then preparing the kernel takes longer than it saves
        if x.device.type == "meta" or torch.is_grad_enabled() or small:
            convolved: Tensor = conv(self[0](x))
            return convolved
        # Equal to a transposed 4×4 convolution, with less than half as many multiply-adds.
        return F.conv_transpose2d(x, _enlarging(conv.weight).to(x.dtype), conv.bias, stride=2, padding=1)


def _enlarging(weight: Tensor) -> Tensor:
    """The transposed 4×4 kernel [in, out, 4, 4] of a 3×3 one [out, in, 3, 3] after nearest enlargement."""
    for axis in (2, 3):
        first, middle, last = weight.unbind(axis)
        weight = torch.stack([last, middle + last, first + middle, first], axis)
    return weight.transpose(0, 1)


def down_conv(in_channels: int, channels: int) -> nn.Conv2d:
    """A 4×4 convolution that halves the size."""
    return nn.Conv2d(in_channels, channels, 4, 2, 1)


class TimeUNet(nn.Module):
    """A U-Net of residual blocks and linear attention with a time. [B, in, H, W] to [B, out, H, W].

    Args:
        in_channels, out_channels: of the image; its height and width are multiples of 2 to the power of the levels.
        dim: channels after the first convolution.
        widths: channels after each level.
        normed: as in `Block`; it also chooses attention between pixels in the middle, and a last convolution of 1×1.
    """

    def __init__(self, in_channels: int, out_channels: int, dim: int, widths: Sequence[int], normed: bool) -> None:
        super().__init__()
        self._widths = (dim, *widths)
        pairs = list(zip(self._widths, self._widths[1:], strict=False))
        time_channels = 4 * dim

        def block(channels: int, out: int) -> ResidualBlock:
            return ResidualBlock(channels, out, normed, time_channels)

        def attention(channels: int) -> Residual:
            return Residual(LinearAttention(channels), channels)

        def flat(channels: int, out: int) -> nn.Conv2d:
            return nn.Conv2d(channels, out, 3, padding=1, bias=normed)

        self.init_conv = nn.Conv2d(in_channels, dim, 7, padding=3, bias=normed)
        self.time_mlp = nn.Sequential(
            SinusoidalEmbedding(dim), nn.Linear(dim, time_channels), nn.GELU(), nn.Linear(time_channels, time_channels)
        )
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level, (fine, coarse) in enumerate(pairs):
            down = (down_conv if level + 1 < len(pairs) else flat)(fine, coarse)
            self.downs.append(nn.ModuleList([block(fine, fine), block(fine, fine), attention(fine), down]))
        for level, (fine, coarse) in reversed(list(enumerate(pairs))):
            up = (UpsampleConv if level else flat)(coarse, fine)
            parts = [block(coarse + fine, coarse), block(coarse + fine, coarse), attention(coarse), up]
            self.ups.append(nn.ModuleList(parts))
        deepest = self._widths[-1]
        self.mid_block1 = block(deepest, deepest)
        self.mid_attn = Residual(PixelAttention(deepest) if normed else LinearAttention(deepest), deepest)
        self.mid_block2 = block(deepest, deepest)
        self.final_res_block = block(2 * dim, dim)
        self.final_conv = PointwiseConv2d(dim, out_channels) if normed else nn.Conv2d(dim, out_channels, 3, padding=1)

    @property
    def levels(self) -> int:
        """Number of levels; the deepest has a stride of 2 to the power of one less."""
        return len(self._widths) - 1

    def points(self, prefix: str = "") -> list[FeaturePoint]:
        """One point after the blocks of each decoder level, coarse to fine."""
        return [
            FeaturePoint(f"{prefix}ups.{i}.2", self._widths[self.levels - i], 2 ** (self.levels - 1 - i))
            for i in range(self.levels)
        ]

    def run(self, x: Tensor, time: Tensor) -> Tensor:
        """The output for images and the embedded time of each [B, 4 · dim]."""
        x = stem = self.init_conv(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for first, second, attention, down in map(nn.ModuleList.children, self.downs):
            x = first(x, time)
            skips.append(x)
            x = attention(second(x, time))
            skips.append(x)
            x = down(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, time)), time)
        for first, second, attention, up in map(nn.ModuleList.children, self.ups):
            x = first(torch.cat([x, skips.pop()], 1), time)
            x = up(attention(second(torch.cat([x, skips.pop()], 1), time)))
        last: Tensor = self.final_conv(self.final_res_block(torch.cat([x, stem], 1), time))
        return last

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """The output for images and their times [B]."""
        return self.run(x, self.time_mlp(time))
