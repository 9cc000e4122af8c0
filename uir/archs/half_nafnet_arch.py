"""NAFNet at half resolution: a fast restorer for a CPU, without a grid at the period of its up-samplings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from uir.archs.nafnet_arch import NAFNet
from uir.layers.features import FeaturePoint
from uir.layers.local_pool import spread_edges
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.pointwise import PointwiseConv2d
from uir.registry import ARCH_REGISTRY

STEP = 2  # pixels in each direction that become channels


class _Enlarge(nn.Module):
    """Half of the channels at twice the size: [B, C, H, W] to [B, C/2, 2H, 2W], every position by the same weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = PointwiseConv2d(channels, channels // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.reduce(x), scale_factor=2, mode="bilinear")


class _Tone(nn.Module):
    """Gain and offset of each colour at each place, from a small copy of the image; at first it changes nothing.

    Args:
        img_channel: channels of the image.
        width: channels of its layers.
    """

    SMALLER = 4  # the small copy's side is a quarter; two strides make it a sixteenth

    def __init__(self, img_channel: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(img_channel, width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
        )
        self.of_all = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.last = nn.Conv2d(width, 2 * img_channel, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """[B, C, H, W] with other brightness and colours; H and W are multiples of `SMALLER`."""
        features = self.body(F.avg_pool2d(image, self.SMALLER))
        features = F.gelu(features + spread_edges(self.of_all(features), *features.shape[-2:]))
        maps = F.interpolate(self.last(features).float(), size=image.shape[-2:], mode="bilinear")
        gain, offset = maps.chunk(2, dim=1)
        return image * gain.clamp(-4, 4).exp() + offset


@ARCH_REGISTRY.register()
class HalfNAFNet(NAFNet):
    """NAFNet on an image whose 2×2 pixels became channels (as in FFDNet, Zhang et al., TIP 2018). Any H, W.

    Two things keep a grid out of smooth areas. Between levels the features are enlarged bilinearly, which gives every
    position the same weights. The last layer starts with the same weights for all four pixels of a 2×2 square (ICNR,
    Aitken et al., 2017).

    Args:
        img_channel: channels of the image.
        width: channels at half resolution; they double at each level.
        middle_blk_num: blocks at the lowest resolution.
        enc_blk_nums: encoder blocks at each level, fine to coarse.
        dec_blk_nums: decoder blocks at each level, coarse to fine; as many levels.
        tone: channels of a branch in front that sets brightness and colours (a gain and an offset from a small copy of
            the image, as in HDRNet, Gharbi et al., 2017, without its grid of intensities); 0 for none. The U-Net then
            restores what the branch gives, so that haze and darkness do not have to pass through its fine features.

    Raises:
        ValueError: as in NAFNet.
    """

    pads_itself = False  # a predictor pads, by reflection; so does `forward`

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        tone: int = 0,
    ) -> None:
        super().__init__(img_channel * STEP**2, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        for level in range(len(dec_blk_nums)):
            channels = width * 2 ** (len(dec_blk_nums) - level)
            self.ups[level] = _Enlarge(channels)
        for parameter in self.ending.parameters():  # the four pixels of a channel are adjacent output channels
            parameter.data = parameter.data[:: STEP**2].repeat_interleave(STEP**2, dim=0)

        self.tone = _Tone(img_channel, tone) if tone else None

    @property
    def adds_input(self) -> bool:
        """Whether the output is the image plus what the network computes."""
        return self.tone is None

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of weights; None if they are another's."""
        if "ups.0.reduce.weight" not in state:
            return None
        kept = {key: value for key, value in state.items() if key != "ups.0.reduce.weight" and key[:5] != "tone."}
        sizes = NAFNet.arch_of(kept)
        tone = {"tone": state["tone.last.weight"].shape[1]} if "tone.last.weight" in state else {}
        return sizes and {**sizes, "type": "HalfNAFNet", "img_channel": sizes["img_channel"] // STEP**2, **tone}

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded by reflection inside."""
        multiple = STEP * super().pad_multiple
        return multiple if self.tone is None else math.lcm(multiple, _Tone.SMALLER)

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output."""
        return super().depths() if self.tone is None else [["tone"], *super().depths()]

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder stage, coarse to fine."""
        return [replace(point, stride=STEP * point.stride) for point in super().feature_points()]

    def forward(self, lq: Tensor) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, img_channel, H, W] in [0, 1]; any H, W.

        Returns:
            [B, img_channel, H, W], not clipped.
        """
        padded = pad_to_multiple(lq, self.pad_multiple)
        if self.tone is not None:
            padded = self.tone(padded)
        restored = F.pixel_shuffle(super().forward(F.pixel_unshuffle(padded, STEP)), STEP)
        return crop(restored, *lq.shape[-2:]).contiguous()
