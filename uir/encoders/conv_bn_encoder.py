"""DASR's degradation encoder (Wang et al., CVPR 2021, Fig. 2): six convolutions and a mean over the image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from uir.layers.degradation_code import DegradationCode
from uir.layers.published_parts import part_of
from uir.registry import ARCH_REGISTRY


def projection_head(channels: int) -> nn.Sequential:
    """Two linear layers into the space in which a contrastive loss compares codes: [B, C] to [B, C]."""
    return nn.Sequential(nn.Linear(channels, channels), nn.LeakyReLU(0.1), nn.Linear(channels, channels))


@ARCH_REGISTRY.register()
class ConvBN6Encoder(nn.Module):
    """DASR's encoder. Input [B, 3, H, W] in [0, 1]; `vector` [B, C] and `projection` [B, C], C the last of `widths`.

    Parameter names are the authors'; the part `E.encoder_q.` of their checkpoints loads with `strict=True`.

    Args:
        widths: channels of the three pairs of convolutions; the second and third pair halve the image.
        projection: add the two linear layers of the contrastive loss; DAA's encoder has none.
        rgb_range: the pixel range of the weights' training; the images passed in are in [0, 1].

    Raises:
        ValueError: there are not three widths.
    """

    def __init__(
        self, widths: Sequence[int] = (64, 128, 256), projection: bool = True, rgb_range: float = 255.0
    ) -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 1:
            raise ValueError(f"ConvBN6Encoder.widths: expected three numbers of channels, got {list(widths)}")
        self.rgb_range = rgb_range
        self.code_channels = widths[-1]
        layers: list[nn.Module] = []
        before = 3
        for pair, width in enumerate(widths):
            for first in (True, False):
                stride = 2 if pair and first else 1
                layers += [
                    nn.Conv2d(before, width, 3, stride=stride, padding=1),
                    nn.BatchNorm2d(width),
                    nn.LeakyReLU(0.1),
                ]
                before = width
        self.E = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
        self.mlp = projection_head(self.code_channels) if projection else None

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image [B, 3, H, W] in [0, 1]; any H, W."""
        vector = self.E(image * self.rgb_range).flatten(1)
        return DegradationCode(vector=vector, projection=None if self.mlp is None else self.mlp(vector))

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The encoder's part of a published checkpoint of DASR or DAA; others are unchanged."""
        return part_of(state, ["E.encoder_q.", "encoder_q."])
