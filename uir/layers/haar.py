"""The orthonormal Haar wavelet."""

from __future__ import annotations

import torch
from torch import Tensor

from uir.layers.padding import pad_to_multiple


def haar(image: Tensor) -> Tensor:
    """One level: [B, C, H, W] to [B, 4, C, ⌈H/2⌉, ⌈W/2⌉], the bands LL, HL, LH, HH as in MWCNN; energy is kept.

    Of each 2×2 block a b / c d, LL = (a + b + c + d)/2, HL = (−a + b − c + d)/2 (across), LH = (−a − b + c + d)/2
    (down) and HH = (a − b − c + d)/2. An odd side is extended by reflection.
    """
    image = pad_to_multiple(image, 2)
    a, b = image[..., 0::2, 0::2], image[..., 0::2, 1::2]
    c, d = image[..., 1::2, 0::2], image[..., 1::2, 1::2]
    bands = [a + b + c + d, -a + b - c + d, -a - b + c + d, a - b - c + d]
    return torch.stack(bands, 1) / 2
