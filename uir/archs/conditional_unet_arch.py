"""The networks of IR-SDE (Luo et al., ICML 2023) and Refusion (CVPRW 2023) that estimate noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.diffusion.mean_reverting import Kind, MeanRevertingSchedule, mean_reverting_schedule
from uir.layers.features import FeaturePoint
from uir.layers.naf_block import add_scaled, simple_gate
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.pointwise import PointwiseConv2d
from uir.layers.time_unet import GainNorm, SinusoidalEmbedding, TimeUNet
from uir.registry import ARCH_REGISTRY

_NOT_SHOWN = "{}: the weights do not show the diffusion that they are for (timesteps, max_sigma, eps)"


class MeanReverting(nn.Module):
    """What the networks share: the diffusion that the weights are for, and the images as they get them."""

    scale = 1
    predictor: ClassVar[str] = "MeanRevertingPredictor"
    _process: tuple[int, float, float, Kind]

    @property
    def schedule(self) -> MeanRevertingSchedule:
        """The diffusion that the weights are for."""
        return mean_reverting_schedule(*self._process)

    def estimate(self, pair: Tensor, time: Tensor) -> Tensor:
        """The output for [state − degraded, degraded] at times [B]."""
        raise NotImplementedError

    def forward(self, lq: Tensor, noisy: Tensor | None = None, timestep: Tensor | None = None) -> Tensor:
        """The noise in a state of the diffusion; without a state, the degraded image is the state at the last time.

        Args:
            lq: degraded images [B, C, H, W] in [0, 1], or their latents; any H, W.
            noisy: states of the diffusion [B, C, H, W].
            timestep: time of each state [B], 1 to T.

        Returns:
            The noise; or, without a state, the image minus the output, not clipped.
        """
        if noisy is not None and timestep is not None:
            return self.estimate(torch.cat([noisy - lq, lq], 1), timestep)
        last = torch.full((len(lq),), float(self.schedule.timesteps), device=lq.device)
        return lq - self.estimate(torch.cat([torch.zeros_like(lq), lq], 1), last)


@ARCH_REGISTRY.register()
class ConditionalUNet(MeanReverting, TimeUNet):
    """IR-SDE's network: estimates the noise in states of a diffusion. [B, 3, H, W] is kept; any H, W.

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`. Without a state it
    restores as a plain network would (see `forward`), for pre-training and comparisons.

    Args:
        in_nc, out_nc: channels of the image; they are the same.
        nf: channels at full resolution.
        depth: number of levels; each has twice as many channels as the one before.
        ch_mult: channels of each level as multiples of `nf`, instead of `depth`.
        timesteps, max_sigma, eps, schedule_type: the diffusion, as in
            `uir.diffusion.mean_reverting.mean_reverting_schedule`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        in_nc: int = 3,
        out_nc: int = 3,
        nf: int = 64,
        depth: int = 4,
        ch_mult: Sequence[int] | None = None,
        timesteps: int = 100,
        max_sigma: float = 10.0,
        eps: float = 0.005,
        schedule_type: Kind = "cosine",
    ) -> None:
        if in_nc != out_nc or nf < 2 or nf % 2 or depth < 1:
            raise ValueError(
                "ConditionalUNet: expected in_nc = out_nc, an even nf and at least one level, got "
                f"{in_nc}, {out_nc}, {nf} and {depth}"
            )
        widths = [nf * (2 ** (level + 1)) for level in range(depth)] if ch_mult is None else [nf * m for m in ch_mult]
        super().__init__(2 * in_nc, out_nc, nf, widths, normed=False)
        self._process, self.in_channels = (timesteps, max_sigma, eps, schedule_type), in_nc
        mean_reverting_schedule(*self._process)

    forward = MeanReverting.forward  # type: ignore[assignment]

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """None if weights are not IR-SDE's.

        Raises:
            ValueError: they are; they do not show their diffusion.
        """
        if not {"init_conv.weight", "downs.0.0.block1.proj.weight", "time_mlp.1.weight"} <= set(state):
            return None
        raise ValueError(_NOT_SHOWN.format("ConditionalUNet"))

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded by reflection."""
        return int(2**self.levels)

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder level, coarse to fine."""
        return self.points()

    def encoder_blocks(self) -> list[str]:
        """The blocks of the encoder, without the middle's; masked pre-training masks their output."""
        return [f"downs.{level}.{part}" for level in range(self.levels) for part in (0, 2)]

    def decoder_blocks(self) -> list[str]:
        """The blocks after the encoder."""
        levels = [f"ups.{level}.{part}" for level in range(self.levels) for part in (0, 2)]
        return ["mid_attn", "mid_block2", *levels, "final_res_block"]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a learning rate may fall from group to group."""
        levels = range(self.levels)
        return [
            ["init_conv", "time_mlp"],
            *([f"downs.{level}"] for level in levels),
            ["mid_block1", "mid_attn", "mid_block2"],
            *([f"ups.{level}"] for level in levels),
            ["final_res_block", "final_conv"],
        ]

    def estimate(self, pair: Tensor, time: Tensor) -> Tensor:
        """The output for [state − degraded, degraded] at times [B]."""
        padded = pad_to_multiple(pair, self.pad_multiple)
        return crop(self.run(padded, self.time_mlp(time)), *pair.shape[-2:]).contiguous()


class TimeGate(nn.Module):
    """The product of the two halves of the channels: [B, 2C] to [B, C]."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        return simple_gate(x)


class TimeNAFBlock(nn.Module):
    """NAFNet's block with norms that a time scales and shifts. Keeps [B, channels, H, W].

    Args:
        channels: C.
        time_channels: width of the embedded time.
    """

    def __init__(self, channels: int, time_channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(TimeGate(), nn.Linear(time_channels // 2, 4 * channels))
        self.conv1 = PointwiseConv2d(channels, 2 * channels)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.conv3 = PointwiseConv2d(channels, channels)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv4 = PointwiseConv2d(channels, 2 * channels)
        self.conv5 = PointwiseConv2d(channels, channels)
        self.norm1 = GainNorm(channels)
        self.norm2 = GainNorm(channels)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """One block; `time` [B, time_channels]."""
        shift, scale, shift_after, scale_after = self.mlp(time)[:, :, None, None].chunk(4, 1)
        branch = simple_gate(self.conv2(self.conv1(torch.addcmul(shift, self.norm1(x), 1 + scale))))
        x = add_scaled(x, branch * self.sca(branch), self.conv3, self.beta)
        branch = simple_gate(self.conv4(torch.addcmul(shift_after, self.norm2(x), 1 + scale_after)))
        return add_scaled(x, branch, self.conv5, self.gamma)


class TimeStage(nn.ModuleList):
    """Blocks in a row."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Run them."""
        for block in self:
            x = block(x, time)
        return x


@ARCH_REGISTRY.register()
class ConditionalNAFNet(MeanReverting):
    """Refusion's network: a NAFNet that estimates the noise in states of a diffusion. [B, C, H, W] is kept; any H, W.

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`. Without a state it
    restores as a plain network would (see `forward`), for pre-training and comparisons.

    Args:
        img_channel: channels of the image, or of its latents.
        width: channels at full resolution; they double at each level.
        middle_blk_num: blocks at the lowest resolution.
        enc_blk_nums: encoder blocks at each level, fine to coarse.
        dec_blk_nums: decoder blocks at each level, coarse to fine; as many levels.
        timesteps, max_sigma, eps, schedule_type: the diffusion, as in
            `uir.diffusion.mean_reverting.mean_reverting_schedule`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 64,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (1, 1, 1, 28),
        dec_blk_nums: Sequence[int] = (1, 1, 1, 1),
        timesteps: int = 100,
        max_sigma: float = 50.0,
        eps: float = 0.005,
        schedule_type: Kind = "cosine",
    ) -> None:
        super().__init__()
        if len(enc_blk_nums) != len(dec_blk_nums) or width < 2 or width % 2:
            raise ValueError(
                "ConditionalNAFNet: expected an even width and as many encoder as decoder levels, got "
                f"{width}, {list(enc_blk_nums)} and {list(dec_blk_nums)}"
            )
        self._process, self.in_channels = (timesteps, max_sigma, eps, schedule_type), img_channel
        mean_reverting_schedule(*self._process)
        self._width, time_channels = width, 4 * width
        self.time_mlp = nn.Sequential(
            SinusoidalEmbedding(width),
            nn.Linear(width, 2 * time_channels),
            TimeGate(),
            nn.Linear(time_channels, time_channels),
        )

        def stage(count: int, channels: int) -> TimeStage:
            return TimeStage(TimeNAFBlock(channels, time_channels) for _ in range(count))

        self.intro = nn.Conv2d(2 * img_channel, width, 3, padding=1)
        self.ending = nn.Conv2d(width, img_channel, 3, padding=1)
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        self.ups, self.downs = nn.ModuleList(), nn.ModuleList()
        channels = width
        for count in enc_blk_nums:
            self.encoders.append(stage(count, channels))
            self.downs.append(nn.Conv2d(channels, 2 * channels, 2, stride=2))
            channels *= 2
        self.middle_blks = stage(middle_blk_num, channels)
        for count in dec_blk_nums:
            self.ups.append(nn.Sequential(PointwiseConv2d(channels, 2 * channels, bias=False), nn.PixelShuffle(2)))
            channels //= 2
            self.decoders.append(stage(count, channels))

    pads_itself = True

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """None if weights are not Refusion's.

        Raises:
            ValueError: they are; they do not show their diffusion.
        """
        if not {"intro.weight", "time_mlp.1.weight", "encoders.0.0.mlp.1.weight"} <= set(state):
            return None
        raise ValueError(_NOT_SHOWN.format("ConditionalNAFNet"))

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded with zeros inside."""
        return int(2 ** len(self.encoders))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder stage, coarse to fine."""
        strides = [2**level for level in reversed(range(len(self.decoders)))]
        return [FeaturePoint(f"decoders.{i}", self._width * stride, stride) for i, stride in enumerate(strides)]

    def encoder_blocks(self) -> list[str]:
        """The blocks of the encoder; masked pre-training masks their output."""
        stages = (list(stage.children()) for stage in self.encoders)
        return [f"encoders.{level}.{i}" for level, blocks in enumerate(stages) for i in range(len(blocks))]

    def decoder_blocks(self) -> list[str]:
        """The blocks after the encoder, the bottleneck's included."""
        stages = {"middle_blks": self.middle_blks} | {f"decoders.{i}": stage for i, stage in enumerate(self.decoders)}
        return [f"{name}.{i}" for name, stage in stages.items() for i in range(len(list(stage.children())))]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a learning rate may fall from group to group."""
        levels = range(len(self.encoders))
        return [
            ["intro", "time_mlp"],
            *([f"encoders.{level}", f"downs.{level}"] for level in levels),
            ["middle_blks"],
            *([f"ups.{level}", f"decoders.{level}"] for level in levels),
            ["ending"],
        ]

    def estimate(self, pair: Tensor, time: Tensor) -> Tensor:
        """The output for [state − degraded, degraded] at times [B]."""
        embedded = self.time_mlp(time)
        padded = pad_to_multiple(pair, self.pad_multiple, "constant")
        x = self.intro(padded.contiguous(memory_format=torch.channels_last))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x, embedded)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x, embedded)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(up(x) + skips.pop(), embedded)
        return crop(self.ending(x), *pair.shape[-2:]).contiguous()
