"""A restorer with a body and a modulator (the layer that uses a degradation code) chosen in the option file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.code_modulator import build_modulator
from uir.layers.degradation_aware_conv import in_fast_order
from uir.layers.degradation_code import DegradationCode, require_code
from uir.layers.features import FeaturePoint
from uir.layers.naf_block import NAFBlock
from uir.layers.rrdb import RRDB
from uir.layers.upsampling import pixel_shuffle_upsampler, run_linear_tail
from uir.registry import ARCH_REGISTRY

MakeModulator = Callable[[], nn.Module]


class ModulatedResBlock(nn.Module):
    """DASR's block with any modulator: two modulators, each before a 3×3 convolution, added to the input.

    Args:
        channels: C of input and output [B, C, H, W].
        make_modulator: builds a modulator of C channels.
    """

    def __init__(self, channels: int, make_modulator: MakeModulator) -> None:
        super().__init__()
        self.modulator1, self.modulator2 = make_modulator(), make_modulator()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """One block."""
        branch = F.leaky_relu(self.modulator1(x, code), 0.1)
        branch = F.leaky_relu(self.conv1(branch), 0.1)
        branch = F.leaky_relu(self.modulator2(branch, code), 0.1)
        return self.conv2(branch) + x


class ModulatedRRDB(nn.Module):
    """CDSR's block with any modulator: 0.2 of a residual-in-residual dense block of the modulated input is added to it.

    Args:
        channels, make_modulator: as in `ModulatedResBlock`.
    """

    def __init__(self, channels: int, make_modulator: MakeModulator) -> None:
        super().__init__()
        self.modulator = make_modulator()
        rrdb = RRDB(channels, max(channels // 2, 1))
        self.dense = nn.Sequential(rrdb.RDB1, rrdb.RDB2, rrdb.RDB3)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """One block."""
        return x + 0.2 * self.dense(self.modulator(x, code))


class ModulatedNAFBlock(nn.Module):
    """NAFNet's block after a modulator; a learned factor, which starts at 0, scales the modulator's result.

    Args:
        channels, make_modulator: as in `ModulatedResBlock`.
    """

    def __init__(self, channels: int, make_modulator: MakeModulator) -> None:
        super().__init__()
        self.modulator = make_modulator()
        self.share = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.block = NAFBlock(channels)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """One block."""
        modulated: Tensor = self.block(x + self.share * self.modulator(x, code))
        return modulated


BODIES: dict[str, type[nn.Module]] = {"dasr": ModulatedResBlock, "rrdb": ModulatedRRDB, "nafnet": ModulatedNAFBlock}


@ARCH_REGISTRY.register()
class ConditionedNet(nn.Module):
    """Blocks of one resolution, controlled by a degradation code; their output is added to the enlarged image.

    Any H, W. [B, 3, H, W] to `scale` times the size: a 3×3 convolution, the blocks, a 3×3 convolution whose result the
    first features are added to, EDSR's upsampler, a 3×3 convolution, and the bilinearly enlarged input. For all blocks
    the code is compressed once, to as many channels as the features have.

    Args:
        scale: scale of the output, any; 1 for restoration.
        body: the blocks: DASR's, ESRGAN's dense ones (growth half the features), or NAFNet's.
        modulator: a key of the table `MODULATORS`.
        modulator_args: further arguments of the modulator.
        condition: the field of the code to use: its vector, or its map (sft and stretch).
        code_channels: width of the code's vector; a training method sets the encoder's.
        map_channels: channels of the code's map; set in the same way.
        num_feat: channels of the features.
        num_block: number of blocks.

    Raises:
        ValueError: a name is unknown, a number is below 1, or the modulator cannot use the field.
    """

    pad_multiple = 1

    def __init__(
        self,
        scale: int = 4,
        body: Literal["dasr", "rrdb", "nafnet"] = "dasr",
        modulator: Literal["da_conv", "dqa", "region_da", "sft", "stretch"] = "da_conv",
        modulator_args: Mapping[str, Any] | None = None,
        condition: Literal["vector", "map"] = "vector",
        code_channels: int = 256,
        map_channels: int = 64,
        num_feat: int = 64,
        num_block: int = 16,
    ) -> None:
        super().__init__()
        if body not in BODIES:
            raise ValueError(f"ConditionedNet.body: expected {', '.join(BODIES)}, got '{body}'")
        if condition not in ("vector", "map"):
            raise ValueError(f"ConditionedNet.condition: expected vector or map, got '{condition}'")
        if min(num_feat, num_block) < 1:
            raise ValueError(f"ConditionedNet: num_feat and num_block must be positive, got {num_feat} and {num_block}")
        self.scale = scale
        self.num_feat = num_feat
        self.condition: Literal["vector", "map"] = condition
        self.code_channels, self.map_channels = code_channels, map_channels

        def make_modulator() -> nn.Module:
            return build_modulator(modulator, num_feat, num_feat, condition, **(modulator_args or {}))

        compress = (
            nn.Linear(code_channels, num_feat, bias=False)
            if condition == "vector"
            else nn.Conv2d(map_channels, num_feat, 1, bias=False)
        )
        self.compress = nn.Sequential(compress, nn.LeakyReLU(0.1))
        self.head = nn.Conv2d(3, num_feat, 3, padding=1)
        self.body = nn.ModuleList(BODIES[body](num_feat, make_modulator) for _ in range(num_block))
        self.after_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.tail = nn.Sequential(pixel_shuffle_upsampler(num_feat, scale), nn.Conv2d(num_feat, 3, 3, padding=1))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each block."""
        return [FeaturePoint(f"body.{index}", self.num_feat, 1) for index in range(len(self.body))]

    def forward(self, lq: Tensor, code: DegradationCode | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, 3, H, W] in [0, 1].
            code: its `vector` [B, code_channels], or its `map` [B, map_channels, h, w] of any size.

        Returns:
            [B, 3, H·scale, W·scale], not clipped.

        Raises:
            ValueError: there is no code, or its field is missing or has another width.
        """
        channels = self.code_channels if self.condition == "vector" else self.map_channels
        steering = self.compress(require_code(code, self.condition, "ConditionedNet", channels))
        shallow = x = self.head(in_fast_order(lq))
        for block in self.body:
            x = block(x, steering)
        added = run_linear_tail(self.tail, self.after_body(x) + shallow, self.scale)
        if self.scale > 1:
            lq = F.interpolate(lq, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        return (lq + added).contiguous()
