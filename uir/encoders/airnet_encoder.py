"""AirNet's contrastive-based degradation encoder (Li et al., CVPR 2022, Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from uir.encoders.conv_bn_encoder import projection_head
from uir.layers.degradation_code import DegradationCode
from uir.layers.published_parts import part_of
from uir.registry import ARCH_REGISTRY


class _ResBlock(nn.Module):
    """Two 3×3 convolutions with batch normalisation, and a normalised 1×1 convolution as the shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.LeakyReLU(0.1),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.backbone(x) + self.shortcut(x), 0.1)


@ARCH_REGISTRY.register()
class CBDE(nn.Module):
    """AirNet's encoder. Input [B, 3, H, W] in [0, 1]; `map` [B, M, H, W], `vector` [B, C], `projection` [B, C].

    M is the first of `widths`, C the last. Parameter names are the authors'; the part `E.E.encoder_q.` of their
    checkpoints loads with `strict=True`.

    Args:
        widths: channels of the three residual blocks; the second and third halve the image.
        projection: add the two linear layers of the contrastive loss.

    Raises:
        ValueError: there are not three widths.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256), projection: bool = True) -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 1:
            raise ValueError(f"CBDE.widths: expected three numbers of channels, got {list(widths)}")
        first, second, last = widths
        self.map_channels, self.code_channels = first, last
        self.E_pre = _ResBlock(3, first, stride=1)
        self.E = nn.Sequential(
            _ResBlock(first, second, stride=2), _ResBlock(second, last, stride=2), nn.AdaptiveAvgPool2d(1)
        )
        self.mlp = projection_head(last) if projection else None

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image [B, 3, H, W] in [0, 1]; any H, W."""
        fine = self.E_pre(image)
        vector = self.E(fine).flatten(1)
        projection = None if self.mlp is None else self.mlp(vector)
        return DegradationCode(vector=vector, map=fine, projection=projection)

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The encoder's part of a published checkpoint, which also contains the restorer; others are unchanged."""
        return part_of(state, ["E.E.encoder_q.", "E.encoder_q.", "encoder_q."])
