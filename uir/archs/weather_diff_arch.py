"""WeatherDiff: patch-based denoising diffusion for adverse weather (Özdenizci and Legenstein, TPAMI 2023)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.core.state_keys import count_of
from uir.diffusion.gaussian import GaussianSchedule, gaussian_schedule
from uir.layers.features import FeaturePoint
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.time_unet import SinusoidalEmbedding
from uir.registry import ARCH_REGISTRY

EPS = 1e-6
PUBLISHED_SIDE = 16
"""Height and width of the level with attention."""


class Embedding(nn.Module):
    """The time [B] as a vector [B, 4 · channels]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sinusoidal = SinusoidalEmbedding(channels)
        self.dense = nn.ModuleList([nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, 4 * channels)])

    def forward(self, time: Tensor) -> Tensor:
        """Embed."""
        first, second = self.dense
        embedded: Tensor = second(F.silu(first(self.sinusoidal(time))))
        return embedded


class ResBlock(nn.Module):
    """Two norms and convolutions; the time is added between them. [B, in, H, W] to [B, channels, H, W].

    Args:
        in_channels, channels: of input and output.
        time_channels: width of the embedded time.
        groups: of the norms.
    """

    def __init__(self, in_channels: int, channels: int, time_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, EPS)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.temb_proj = nn.Linear(time_channels, channels)
        self.norm2 = nn.GroupNorm(groups, channels, EPS)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        if in_channels != channels:
            self.nin_shortcut = nn.Conv2d(in_channels, channels, 1)
        self._widens = in_channels != channels

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """One block."""
        branch = self.conv1(F.silu(self.norm1(x))) + self.temb_proj(F.silu(time))[:, :, None, None]
        branch = self.conv2(F.silu(self.norm2(branch)))
        shortcut: Tensor = self.nin_shortcut(x) if self._widens else x
        return shortcut + branch


class AttnBlock(nn.Module):
    """Attention between all pixels with one head. Keeps [B, channels, H, W]."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, EPS)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        normed = self.norm(x)
        parts = (conv(normed).flatten(2).transpose(1, 2)[:, None] for conv in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(*parts)[:, 0].transpose(1, 2).unflatten(2, x.shape[-2:])
        projected: Tensor = self.proj_out(attended)
        return x + projected


class Down(nn.Module):
    """Halves the size by a convolution; zeros are added below and on the right."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Pad and convolve."""
        halved: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return halved


class Up(nn.Module):
    """Doubles the size, and convolves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge and convolve."""
        enlarged: Tensor = self.conv(F.interpolate(x, scale_factor=2.0))
        return enlarged


class Level(nn.Module):
    """Blocks of one size, each with attention behind it if the level has any, under the authors' keys."""

    def __init__(self, blocks: Sequence[ResBlock], attention: Sequence[AttnBlock]) -> None:
        super().__init__()
        self.block, self.attn = nn.ModuleList(blocks), nn.ModuleList(attention)

    def step(self, index: int, x: Tensor, time: Tensor) -> Tensor:
        """One block and its attention."""
        x = self.block[index](x, time)
        return self.attn[index](x) if len(self.attn) else x


@ARCH_REGISTRY.register()
class WeatherDiff(nn.Module):
    """Estimates the noise in states of a diffusion, on patches. [B, 3, H, W] is kept; any H, W.

    Argument and parameter names are those of the authors' code and file, so their checkpoints load with `strict=True`.
    Published: patches of 64 with `ch_mult: [1, 2, 3, 4]`, patches of 128 with `ch_mult: [1, 1, 2, 3, 4]`. Without a
    state it restores as a plain network would (see `forward`), for pre-training and comparisons.

    Args:
        in_channels: channels of the image.
        ch: channels of the first level.
        ch_mult: channels of each level as multiples of `ch`, fine to coarse.
        num_res_blocks: blocks of each level; one more on the way up.
        attn_resolutions: sides of the maps with attention, if a patch has the side `resolution`.
        resolution: side of the patches.
        groups: groups of the norms.
        timesteps, beta_start, beta_end: the diffusion: number of times, first and last variance.

    Raises:
        ValueError: the sizes do not fit each other.
    """

    scale = 1
    predictor: ClassVar[str] = "PatchPredictor"

    def __init__(
        self,
        in_channels: int = 3,
        ch: int = 128,
        ch_mult: Sequence[int] = (1, 2, 3, 4),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (16,),
        resolution: int = 64,
        groups: int = 32,
        timesteps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
    ) -> None:
        super().__init__()
        levels = len(ch_mult)
        if levels < 1 or num_res_blocks < 1 or ch % groups or resolution % 2 ** (levels - 1):
            raise ValueError(
                "WeatherDiff: expected levels, blocks, a resolution that all levels can halve, and channels in "
                f"{groups} groups; got {list(ch_mult)}, {num_res_blocks}, {resolution} and {ch}"
            )
        gaussian_schedule(timesteps, beta_start, beta_end)
        self._process, self.in_channels = (timesteps, beta_start, beta_end), in_channels
        self.resolution = resolution
        widths, time_channels = [ch * factor for factor in ch_mult], 4 * ch
        self._widths, self._blocks = widths, num_res_blocks

        def level(inputs: Sequence[int], channels: int, side: int) -> Level:
            blocks = [ResBlock(width, channels, time_channels, groups) for width in inputs]
            attends = side in attn_resolutions
            return Level(blocks, [AttnBlock(channels, groups) for _ in blocks] if attends else [])

        self.temb = Embedding(ch)
        self.conv_in = nn.Conv2d(2 * in_channels, ch, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = [ch, *widths[:-1]]
        for index, width in enumerate(widths):
            made = level([before[index], *[width] * (num_res_blocks - 1)], width, resolution // 2**index)
            if index + 1 < levels:
                made.downsample = Down(width)
            self.down.append(made)
        deepest = widths[-1]
        self.mid = nn.Module()
        self.mid.block_1 = ResBlock(deepest, deepest, time_channels, groups)
        self.mid.attn_1 = AttnBlock(deepest, groups)
        self.mid.block_2 = ResBlock(deepest, deepest, time_channels, groups)
        for index, width in enumerate(widths):
            coarser = widths[min(index + 1, levels - 1)]
            skips = [*[width] * num_res_blocks, before[index]]
            inputs = [(coarser if i == 0 else width) + skip for i, skip in enumerate(skips)]
            made = level(inputs, width, resolution // 2**index)
            if index:
                made.upsample = Up(width)
            self.up.append(made)
        self.norm_out = nn.GroupNorm(groups, ch * ch_mult[0], EPS)
        self.conv_out = nn.Conv2d(ch * ch_mult[0], in_channels, 3, padding=1)

    @property
    def schedule(self) -> GaussianSchedule:
        """The diffusion that the weights are for."""
        return gaussian_schedule(*self._process)

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded by reflection."""
        return int(2 ** (len(self._widths) - 1))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after the blocks of each decoder level, coarse to fine."""
        levels = reversed(range(len(self._widths)))
        return [FeaturePoint(_last(self.up[i], f"up.{i}", self._blocks), self._widths[i], 2**i) for i in levels]

    def encoder_blocks(self) -> list[str]:
        """The blocks of the encoder, without the middle's; masked pre-training masks their output."""
        return [_last(level, f"down.{i}", j) for i, level in enumerate(self.down) for j in range(self._blocks)]

    def decoder_blocks(self) -> list[str]:
        """The blocks after the encoder."""
        levels = list(reversed(list(enumerate(self.up))))
        blocks = [_last(level, f"up.{i}", j) for i, level in levels for j in range(self._blocks + 1)]
        return ["mid.attn_1", "mid.block_2", *blocks]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a learning rate may fall from group to group."""
        levels = range(len(self._widths))
        return [
            ["conv_in", "temb"],
            *([f"down.{i}"] for i in levels),
            ["mid"],
            *([f"up.{i}"] for i in reversed(levels)),
            ["norm_out", "conv_out"],
        ]

    def forward(self, lq: Tensor, noisy: Tensor | None = None, timestep: Tensor | None = None) -> Tensor:
        """The noise in a state of the diffusion; without a state, the degraded image is the state at the last time.

        Args:
            lq: degraded images [B, 3, H, W] in [0, 1]; any H, W.
            noisy: states of the diffusion [B, 3, H, W] of images in [-1, 1].
            timestep: time of each state [B], from 0.

        Returns:
            The noise; or, without a state, the image minus half of the output, not clipped.
        """
        degraded = 2 * lq - 1
        if noisy is not None and timestep is not None:
            return self._estimate(torch.cat([degraded, noisy], 1), timestep)
        last = torch.full((len(lq),), self.schedule.timesteps - 1, device=lq.device)
        return lq - self._estimate(torch.cat([degraded, degraded], 1), last) / 2

    def _estimate(self, pair: Tensor, time: Tensor) -> Tensor:
        padded = pad_to_multiple(pair, self.pad_multiple).contiguous(memory_format=torch.channels_last)
        embedded = self.temb(time)
        x = self.conv_in(padded)
        skips = [x]
        levels: Iterable[Any] = self.down
        for level in levels:
            for index in range(self._blocks):
                x = level.step(index, x, embedded)
                skips.append(x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
                skips.append(x)
        mid: Any = self.mid
        x = mid.block_2(mid.attn_1(mid.block_1(x, embedded)), embedded)
        levels = reversed(self.up)
        for level in levels:
            for index in range(self._blocks + 1):
                x = level.step(index, torch.cat([x, skips.pop()], 1), embedded)
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        return crop(self.conv_out(F.silu(self.norm_out(x))), *pair.shape[-2:]).contiguous()

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The keys of published checkpoints without DataParallel's `module.`."""
        return {key.removeprefix("module."): value for key, value in state.items()}

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights; None if they are another's. One level, 16 pixels wide, has attention.

        Raises:
            ValueError: not just one level has attention, so that the size of the patches does not show.
        """
        state = WeatherDiff.convert_state_dict(dict(state))
        if not {"temb.dense.0.weight", "conv_in.weight", "conv_out.weight", "down.0.block.0.conv2.weight"} <= set(
            state
        ):
            return None
        levels, ch = range(count_of(state, "down")), state["conv_in.weight"].shape[0]
        attending = [level for level in levels if f"down.{level}.attn.0.q.weight" in state]
        if len(attending) != 1:
            raise ValueError("WeatherDiff: the weights do not show the size of the patches (resolution)")
        return {
            "type": "WeatherDiff",
            "in_channels": state["conv_out.weight"].shape[0],
            "ch": ch,
            "ch_mult": [state[f"down.{level}.block.0.conv2.weight"].shape[0] // ch for level in levels],
            "num_res_blocks": count_of(state, "down.0.block"),
            "attn_resolutions": [PUBLISHED_SIDE],
            "resolution": PUBLISHED_SIDE * 2 ** attending[0],
        }


def _last(level: Any, name: str, index: int) -> str:
    """The part of a level whose output is that of a block: its attention, if it has any."""
    return f"{name}.{'attn' if len(level.attn) else 'block'}.{index}"
