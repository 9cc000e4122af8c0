"""DAA's degradation encoder with a ranker (Wang et al., Blind Image Super-Resolution with Degradation-Aware
Adaptation, ACCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from uir.encoders.conv_bn_encoder import ConvBN6Encoder
from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY


class Ranker(nn.Module):
    """Predicts from a code how strongly an image is degraded: [B, widths[0]] to [B].

    Args:
        widths: widths of the linear layers; the first is the code's, the last is 1.
    """

    def __init__(self, widths: Sequence[int] = (256, 128, 64, 32, 1)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.LeakyReLU(0.1), nn.Linear(before, after)]
        self.R = nn.Sequential(*layers)

    def forward(self, vector: Tensor) -> Tensor:
        """The scores [B]; only their order has a meaning."""
        score: Tensor = self.R(vector).squeeze(-1)
        return score


@ARCH_REGISTRY.register()
class DAAEncoder(nn.Module):
    """DAA's encoder: DASR's without projection, and a ranker. Input [B, 3, H, W] in [0, 1]; `vector` and `score`.

    The vector is the code after the ranker's first activation. In the authors' code that activation works in place, so
    their restorer was trained on this vector. Parameter names are the authors'; `E.encoder_q.` and `E.ranker_q.` of
    their checkpoints load with `strict=True`.

    Args:
        widths: as in `ConvBN6Encoder`.
        ranker_widths: hidden widths of the ranker.
        rgb_range: the pixel range of the weights' training; the images passed in are in [0, 1].

    Raises:
        ValueError: there are not three widths.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256),
        ranker_widths: Sequence[int] = (128, 64, 32),
        rgb_range: float = 255.0,
    ) -> None:
        super().__init__()
        self.encoder_q = ConvBN6Encoder(widths, projection=False, rgb_range=rgb_range)
        self.code_channels = self.encoder_q.code_channels
        self.ranker_q = Ranker((self.code_channels, *ranker_widths, 1))

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image [B, 3, H, W] in [0, 1]; any H, W."""
        vector = self.encoder_q(image).vector
        return DegradationCode(vector=F.leaky_relu(vector, 0.1), score=self.ranker_q(vector))

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The encoder's part of a published checkpoint, which also contains the restorer; others are unchanged."""
        own = ("E.encoder_q.", "E.ranker_q.")
        part = {key.removeprefix("E."): value for key, value in state.items() if key.startswith(own)}
        return part or state
