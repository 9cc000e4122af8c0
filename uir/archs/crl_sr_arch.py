"""A restorer for CRL-SR (Zhang et al., arXiv 2107.00708), which sees features instead of the degraded image.

The authors' code is not public, and the abstract gives no layers: they are ours.
"""

from __future__ import annotations

from torch import Tensor, nn

from uir.layers.degradation_code import DegradationCode, require_code
from uir.layers.features import FeaturePoint
from uir.layers.rrdb import RRDB
from uir.layers.upsampling import pixel_shuffle_upsampler, run_linear_tail
from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class CRLSR(nn.Module):
    """Enlarges an encoder's `map` [B, map_channels, H, W] to an image [B, 3, H·scale, W·scale]; any H, W.

    A 3×3 convolution, residual-in-residual dense blocks, a 3×3 convolution whose result the first features are added
    to, EDSR's upsampler, a 3×3 convolution. The degraded image itself is not used.

    Args:
        scale: scale of the output, any; 1 for restoration.
        map_channels: channels of the map; a training method sets the encoder's.
        num_feat: channels of the features.
        num_block: number of blocks.
        growth: channels that each of their convolutions adds.

    Raises:
        ValueError: a number is below 1.
    """

    pad_multiple = 1

    def __init__(
        self, scale: int = 4, map_channels: int = 64, num_feat: int = 64, num_block: int = 10, growth: int = 32
    ) -> None:
        super().__init__()
        if min(scale, map_channels, num_feat, num_block, growth) < 1:
            raise ValueError(
                "CRLSR: scale, map_channels, num_feat, num_block and growth must be at least 1, "
                f"got {scale}, {map_channels}, {num_feat}, {num_block} and {growth}"
            )
        self.scale = scale
        self.map_channels = map_channels
        self.num_feat = num_feat
        self.head = nn.Conv2d(map_channels, num_feat, 3, padding=1)
        self.body = nn.ModuleList(RRDB(num_feat, growth) for _ in range(num_block))
        self.after_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.tail = nn.Sequential(pixel_shuffle_upsampler(num_feat, scale), nn.Conv2d(num_feat, 3, 3, padding=1))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each block."""
        return [FeaturePoint(f"body.{index}", self.num_feat, 1) for index in range(len(self.body))]

    def forward(self, lq: Tensor, code: DegradationCode | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, 3, H, W] in [0, 1]; only its size counts.
            code: its `map` [B, map_channels, H, W], of these images.

        Returns:
            [B, 3, H·scale, W·scale], not clipped.

        Raises:
            ValueError: there is no code, or its map is missing or has another width or size.
        """
        features = require_code(code, "map", "CRLSR", self.map_channels)
        if features.shape[-2:] != lq.shape[-2:]:
            raise ValueError(
                f"CRLSR restores from the features of the image itself: expected a map of {lq.shape[-2]}×{lq.shape[-1]}"
                f", got {features.shape[-2]}×{features.shape[-1]}; the code of another image cannot be used"
            )
        shallow = x = self.head(features)
        for block in self.body:
            x = block(x)
        restored: Tensor = run_linear_tail(self.tail, self.after_body(x) + shallow, self.scale)
        return restored.contiguous()
