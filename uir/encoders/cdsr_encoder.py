"""CDSR's degradation encoder (Zhou et al., ACM MM 2022): pixel and patch features, expressed by a codebook."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.encoders.conv_bn_encoder import projection_head
from uir.layers.degradation_code import DegradationCode
from uir.layers.published_parts import part_of
from uir.registry import ARCH_REGISTRY

PATCH = 12


class _ConvBN(nn.Module):
    """Convolution, batch normalisation, LeakyReLU(0.1); keys `conv1`, `bn1`."""

    def __init__(self, before: int, after: int, kernel_size: int, stride: int = 1, padding: int | None = None) -> None:
        super().__init__()
        padding = kernel_size // 2 if padding is None else padding
        self.conv1 = nn.Conv2d(before, after, kernel_size, stride=stride, padding=padding)
        self.bn1 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.bn1(self.conv1(x)), 0.1)


@ARCH_REGISTRY.register()
class CDSREncoder(nn.Module):
    """CDSR's lightweight patch-based encoder with codebook. Input [B, 3, H, W] in [0, 1], H and W at least 12.

    `vector` [B, C] is a mixture of the codebook's entries, C the last of `widths`; `projection` [B, C]. Parameter names
    are the authors'; the part `E.encoder_q.` of their checkpoints loads with `strict=True`.

    Args:
        widths: channels of the two streams' three levels.
        codebook_size: number of entries of the codebook.
        projection: add the two linear layers of the contrastive loss.
        rgb_range: the pixel range of the weights' training; the images passed in are in [0, 1].

    Raises:
        ValueError: there are not three widths.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256),
        codebook_size: int = 1024,
        projection: bool = True,
        rgb_range: float = 1.0,
    ) -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 1:
            raise ValueError(f"CDSREncoder.widths: expected three numbers of channels, got {list(widths)}")
        first, second, last = widths
        self.rgb_range = rgb_range
        self.code_channels = last
        self.conv1 = _ConvBN(3, first, 7)
        self.conv2 = _ConvBN(first, first, 1)
        self.conv3 = _ConvBN(first, second, 3, stride=2)
        self.conv4 = _ConvBN(second, second, 1)
        self.conv5 = _ConvBN(second, last, 7)
        self.conv6 = _ConvBN(last, last, 1)
        self.pconv1 = _ConvBN(3, first, PATCH, stride=PATCH, padding=0)
        self.pconv2 = _ConvBN(first, first, 3)
        self.pconv3 = _ConvBN(first, second, 3)
        self.pconv4 = _ConvBN(second, last, 3)
        self.mlp1 = nn.Sequential(nn.Linear(2 * last, last), nn.LeakyReLU(0.1), nn.Linear(last, last))
        self.feature_bank = nn.Embedding(codebook_size, last)
        self.fc_q = nn.Linear(last, last)
        self.fc_k = nn.Linear(last, last)
        self.mlp = projection_head(last) if projection else None

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image [B, 3, H, W] in [0, 1].

        Raises:
            ValueError: the image is smaller than a patch of 12×12 pixels.
        """
        if min(image.shape[-2:]) < PATCH:
            raise ValueError(f"CDSREncoder: images must be at least {PATCH}×{PATCH}, got {tuple(image.shape[-2:])}")
        image = image * self.rgb_range
        pixels = self.conv6(self.conv5(self.conv4(self.conv3(self.conv2(self.conv1(image))))))
        patches = self.pconv4(self.pconv3(self.pconv2(self.pconv1(image))))
        summary = self.mlp1(torch.cat([pixels.mean((2, 3)), patches.mean((2, 3))], 1))
        words = self.feature_bank.weight
        vector = (self.fc_q(summary) @ self.fc_k(words).T).softmax(-1) @ words
        return DegradationCode(vector=vector, projection=None if self.mlp is None else self.mlp(vector))

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The encoder's part of a published checkpoint, which also contains the restorer; others are unchanged."""
        return part_of(state, ["E.encoder_q.", "encoder_q."])
