"""NAFNet: Simple Baselines for Image Restoration (Chen et al., ECCV 2022).

The results are the paper's, but the computation is arranged for speed: see `uir.layers.naf_block`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.core.state_keys import count_of
from uir.layers.features import FeaturePoint
from uir.layers.local_pool import LocalAvgPool2d
from uir.layers.naf_block import NAFBlock, add_scaled
from uir.layers.norm import LayerNorm2d
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.pointwise import PointwiseConv2d
from uir.registry import ARCH_REGISTRY


class BaselineBlock(nn.Module):
    """The paper's baseline block (Fig. 3b): GELU and squeeze-and-excitation. Input and output [B, channels, H, W].

    Args:
        channels: C.
        dw_expand: width of the depthwise branch, as a multiple of C.
        ffn_expand: width of the feed-forward branch, as a multiple of C.
    """

    def __init__(self, channels: int, dw_expand: int = 1, ffn_expand: int = 2) -> None:
        super().__init__()
        wide = channels * dw_expand
        self.conv1 = PointwiseConv2d(channels, wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.conv3 = PointwiseConv2d(wide, channels)
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(wide, wide // 2, 1),
            nn.ReLU(),
            nn.Conv2d(wide // 2, wide, 1),
            nn.Sigmoid(),
        )
        self.conv4 = PointwiseConv2d(channels, channels * ffn_expand)
        self.conv5 = PointwiseConv2d(channels * ffn_expand, channels)
        self.norm1 = LayerNorm2d(channels)
        self.norm2 = LayerNorm2d(channels)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """One block; fastest in channels-last order."""
        branch = F.gelu(self.conv2(self.conv1(self.norm1(x))))
        x = add_scaled(x, branch * self.se(branch), self.conv3, self.beta)
        branch = F.gelu(self.conv4(self.norm2(x)))
        return add_scaled(x, branch, self.conv5, self.gamma)


class _UNet(nn.Module):
    """The U-Net that NAFNet and its baseline share: a block class, and the number of blocks at each level."""

    scale = 1

    def __init__(
        self,
        block: type[nn.Module],
        img_channel: int,
        width: int,
        middle_blk_num: int,
        enc_blk_nums: Sequence[int],
        dec_blk_nums: Sequence[int],
        window_size: int,
        **expand: int,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if len(enc_blk_nums) != len(dec_blk_nums):
            raise ValueError(
                f"{name}: enc_blk_nums has {len(enc_blk_nums)} levels {list(enc_blk_nums)}, dec_blk_nums has "
                f"{len(dec_blk_nums)} {list(dec_blk_nums)}; both need the same number of levels"
            )
        if min(width, img_channel, window_size) < 1:
            raise ValueError(
                f"{name}: width, img_channel and window_size must be at least 1, "
                f"got {width}, {img_channel} and {window_size}"
            )

        def stage(count: int, channels: int) -> nn.Sequential:
            return nn.Sequential(*(block(channels, **expand) for _ in range(count)))

        self.width = width
        self.window_size = window_size
        self.intro = nn.Conv2d(img_channel, width, 3, padding=1)
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

    @property
    def pads_itself(self) -> bool:
        """Whether the network itself pads any size with zeros, as the authors' does; DCPT reflects, outside."""
        return self.window_size == 1

    @property
    def adds_input(self) -> bool:
        """Whether the output is the image plus what the network computes."""
        return True

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded with zeros inside."""
        return math.lcm(2 ** len(self.encoders), self.window_size)

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder stage, coarse to fine."""
        strides = [2**level for level in reversed(range(len(self.decoders)))]
        return [FeaturePoint(f"decoders.{i}", self.width * stride, stride) for i, stride in enumerate(strides)]

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
        encoders = [[f"encoders.{level}", f"downs.{level}"] for level in range(len(self.encoders))]
        decoders = [[f"ups.{level}", f"decoders.{level}"] for level in range(len(self.decoders))]
        return [["intro"], *encoders, ["middle_blks"], *decoders, ["ending"]]

    def forward(self, lq: Tensor) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, img_channel, H, W] in [0, 1]; any H, W.

        Returns:
            [B, img_channel, H, W], not clipped.
        """
        padded = pad_to_multiple(lq, 2 ** len(self.encoders), mode="constant")
        padded = padded.contiguous(memory_format=torch.channels_last)
        x = self.intro(padded)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(up(x) + skips.pop())
        return crop(self.ending(x) + padded, *lq.shape[-2:]).contiguous()

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Replace DCPT's keys, which have `decoder0.` for `decoders.0.`, by the authors' keys; others are unchanged."""
        return {re.sub(r"^decoder(\d+)\.", r"decoders.\1.", key): value for key, value in state.items()}


@ARCH_REGISTRY.register()
class NAFNet(_UNet):
    """U-shaped NAFNet. Input and output [B, img_channel, H, W]; any H, W (padded with zeros to a multiple of 2^levels).

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`; DCPT's too (its class
    `NAFNetBaseline` is this network, its `NAFNet` is `NAFNetLocal`).

    Args:
        img_channel: channels of the image.
        width: channels at full resolution; they double at each level.
        middle_blk_num: blocks at the lowest resolution.
        enc_blk_nums: encoder blocks at each level, fine to coarse.
        dec_blk_nums: decoder blocks at each level, coarse to fine; as many levels.
        window_size: from DCPT; raises `pad_multiple` to a multiple of it; this has no other effect.

    Raises:
        ValueError: the numbers of levels differ, or a width is below 1.
    """

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        window_size: int = 1,
    ) -> None:
        super().__init__(NAFBlock, img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums, window_size)

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights; None if they are another's (see `uir.inference.recognition`)."""
        sizes = sizes_of(state)
        # HalfNAFNet's, InstructIR's and ConditionalNAFNet's
        others = {"ups.0.reduce.weight", "enc_cond.0.fc.weight", "time_mlp.1.weight"}
        if sizes is None or others & set(state) or not any(key.endswith(".sca.1.weight") for key in state):
            return None
        return {"type": "NAFNet", **sizes}


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The arguments that NAFNet and its baseline share; None if the weights are those of another network."""
    state = _UNet.convert_state_dict(dict(state))
    if not {"intro.weight", "ending.weight", "downs.0.weight"} <= set(state):
        return None
    levels = count_of(state, "downs")
    return {
        "img_channel": state["intro.weight"].shape[1],
        "width": state["intro.weight"].shape[0],
        "middle_blk_num": count_of(state, "middle_blks"),
        "enc_blk_nums": [count_of(state, f"encoders.{level}") for level in range(levels)],
        "dec_blk_nums": [count_of(state, f"decoders.{level}") for level in range(levels)],
    }


@ARCH_REGISTRY.register()
class NAFNetLocal(NAFNet):
    """NAFNet whose channel attention pools over windows of the training crop's size (the test-time local converter).

    Keys are NAFNet's: train one and test with the other. On inputs up to the window's size both give the same result.

    Args:
        train_size: [B, C, H, W] of the crops that the weights were trained on.
        fast_imp: pool reduced maps; faster, not exact.
        base_size: side(s) of the window at full resolution; default 1.5 times the crop's, rounded down.
        img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums, window_size: as in NAFNet.

    Raises:
        ValueError: as in NAFNet, or `train_size` is not four numbers, or `base_size` not one or two.
    """

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        train_size: Sequence[int] = (1, 3, 256, 256),
        fast_imp: bool = False,
        base_size: int | Sequence[int] | None = None,
        window_size: int = 1,
    ) -> None:
        super().__init__(img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums, window_size)
        if len(train_size) != 4 or min(train_size) < 1:
            raise ValueError(f"NAFNetLocal.train_size: expected the crops' [B, C, H, W], got {list(train_size)}")
        crop_size = train_size[-2:]
        if base_size is None:
            base_size = [int(1.5 * side) for side in crop_size]
        elif isinstance(base_size, int):
            base_size = [base_size, base_size]
        if len(base_size) != 2 or min(base_size) < 1:
            raise ValueError(f"NAFNetLocal.base_size: expected one side or [height, width], got {list(base_size)}")
        levels = len(self.encoders)
        stages = [*enumerate(self.encoders), (levels, self.middle_blks)]
        stages += [(levels - 1 - i, decoder) for i, decoder in enumerate(self.decoders)]
        for level, blocks in stages:
            # The size of a crop here, padded to a multiple of 2^levels; the published converter runs a crop to see it.
            height, width = (math.ceil(side / 2**levels) * 2**levels >> level for side in crop_size)
            window = (height * base_size[0] // crop_size[0], width * base_size[1] // crop_size[1])
            for block in blocks.children():
                block.get_submodule("sca").register_module("0", LocalAvgPool2d(window, fast_imp))


@ARCH_REGISTRY.register()
class Baseline(_UNet):
    """The baseline that NAFNet was simplified from: GELU, squeeze-and-excitation. Input and output are those of NAFNet.

    Args:
        dw_expand: width of the depthwise branch, as a multiple of the level's.
        ffn_expand: width of the feed-forward branch, as a multiple of the level's.
        img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums, window_size: as in NAFNet.

    Raises:
        ValueError: as in NAFNet.
    """

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        dw_expand: int = 1,
        ffn_expand: int = 2,
        window_size: int = 1,
    ) -> None:
        super().__init__(
            BaselineBlock, img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums, window_size,
            dw_expand=dw_expand, ffn_expand=ffn_expand,
        )  # fmt: skip

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights; None if they are another's."""
        sizes = sizes_of(state)
        block = next((key.removesuffix("se.1.weight") for key in state if key.endswith(".se.1.weight")), None)
        if sizes is None or block is None:
            return None
        expand = {name: state[f"{block}{conv}.weight"].shape[:2] for name, conv in (("dw", "conv1"), ("ffn", "conv4"))}
        return {"type": "Baseline", **sizes, **{f"{name}_expand": out // of for name, (out, of) in expand.items()}}
