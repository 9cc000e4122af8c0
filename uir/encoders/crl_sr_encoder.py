"""An encoder for CRL-SR (Zhang et al., arXiv 2107.00708): low-frequency features, and local features to compare.

The authors' code is not public, and the abstract gives no widths. The arrangement is the paper's; all layers are ours.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.degradation_code import DegradationCode
from uir.layers.rrdb import RRDB
from uir.registry import ARCH_REGISTRY

PATCH = 4
"""Side in pixels of the area of a local feature."""
_SMOOTHED = 5  # side in pixels of the mean that is subtracted to leave the high frequencies


@ARCH_REGISTRY.register()
class CRLSREncoder(nn.Module):
    """Features without the degradation. Input [B, 3, H, W] in [0, 1], any H, W. No layer mixes images.

    `map` [B, C, H, W]: the low-frequency features, which the restorer enlarges. `local` [B, D, ⌈H/4⌉, ⌈W/4⌉]: one unit
    of comparison for each patch of them. `detail`, of the same shape: the same for the high frequencies, from the image
    minus its local mean. `vector` [B, C] and `projection` [B, D] are the means of `map` and `local` over the image.

    Args:
        num_feat: C.
        num_block: number of residual-in-residual dense blocks.
        growth: channels that each of their convolutions adds.
        num_local: D.

    Raises:
        ValueError: a number is below 1.
    """

    def __init__(self, num_feat: int = 64, num_block: int = 2, growth: int = 16, num_local: int = 128) -> None:
        super().__init__()
        if min(num_feat, num_block, growth, num_local) < 1:
            raise ValueError(
                "CRLSREncoder: num_feat, num_block, growth and num_local must be at least 1, "
                f"got {num_feat}, {num_block}, {growth} and {num_local}"
            )
        self.code_channels = self.map_channels = num_feat
        self.head = nn.Conv2d(3, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(num_feat, growth) for _ in range(num_block)))
        self.after_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.to_local = _comparing(num_feat, num_local)
        self.high = nn.Sequential(
            nn.Conv2d(3, num_feat, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(num_feat, num_feat, 3, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(num_feat, num_feat, 3, stride=2, padding=1),
            nn.LeakyReLU(0.1),
        )
        self.to_detail = _comparing(num_feat, num_local)

    def forward(self, image: Tensor) -> DegradationCode:
        """The features of each image [B, 3, H, W] in [0, 1]."""
        shallow = self.head(image)
        features = shallow + self.after_body(self.body(shallow))
        local = self.to_local(F.avg_pool2d(features, PATCH, ceil_mode=True))
        return DegradationCode(
            vector=features.mean((2, 3)),
            map=features,
            projection=local.mean((2, 3)),
            local=local,
            detail=self.detail_of(image),
        )

    def detail_of(self, image: Tensor) -> Tensor:
        """`detail` alone; a clean image is larger than the degraded one, and nothing else of it is needed."""
        detail: Tensor = self.to_detail(self.high(high_frequencies(image)))
        return detail


def high_frequencies(image: Tensor) -> Tensor:
    """The image [B, C, H, W] minus its mean over 5×5 pixels around each; a flat image becomes 0."""
    margin = _SMOOTHED // 2
    return image - F.avg_pool2d(F.pad(image, (margin,) * 4, mode="replicate"), _SMOOTHED, stride=1)


def _comparing(channels: int, local: int) -> nn.Sequential:
    """Two layers for each position into the space in which patches are compared."""
    return nn.Sequential(nn.Conv2d(channels, local, 1), nn.LeakyReLU(0.1), nn.Conv2d(local, local, 1))
