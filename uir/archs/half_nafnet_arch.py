"""NAFNet at half resolution: a fast restorer for a CPU, without a grid at the period of its up-samplings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from uir.archs.nafnet_arch import NAFNet
from uir.layers.features import FeaturePoint
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
    ) -> None:
        super().__init__(img_channel * STEP**2, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        for level in range(len(dec_blk_nums)):
            channels = width * 2 ** (len(dec_blk_nums) - level)
            self.ups[level] = _Enlarge(channels)
        for parameter in self.ending.parameters():  # the four pixels of a channel are adjacent output channels
            parameter.data = parameter.data[:: STEP**2].repeat_interleave(STEP**2, dim=0)

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of weights; None if they are another's."""
        if "ups.0.reduce.weight" not in state:
            return None
        sizes = NAFNet.arch_of({key: value for key, value in state.items() if key != "ups.0.reduce.weight"})
        return sizes and {**sizes, "type": "HalfNAFNet", "img_channel": sizes["img_channel"] // STEP**2}

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded by reflection inside."""
        return STEP * super().pad_multiple

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
        restored = F.pixel_shuffle(super().forward(F.pixel_unshuffle(padded, STEP)), STEP)
        return crop(restored, *lq.shape[-2:]).contiguous()
