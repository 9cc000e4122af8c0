"""BasicSR's form of a metric: two uint8 BGR arrays [H, W, C], `img` and `img2`; `crop_border` is required."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from uir.layers.color import rgb_to_y
from uir.metrics.protocols import check_pair, crop_border, in_double


def to_uint8_bgr(image: Tensor) -> np.ndarray:
    """One image as BasicSR passes it to a metric and as a PNG stores it.

    Args:
        image: float RGB [3, H, W] or grey [1, H, W] in [0, 1]; clipped.

    Returns:
        uint8 BGR [H, W, 3], or [H, W, 1].
    """
    levels = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    return np.ascontiguousarray(levels.flip(0).permute(1, 2, 0).numpy())


def pair_from_arrays(
    img: np.ndarray, img2: np.ndarray, border: int, input_order: str, test_y_channel: bool
) -> tuple[Tensor, Tensor]:
    """Two arrays as tensors to compare.

    Args:
        img, img2: BGR [H, W, C], [C, H, W] if `input_order` is `CHW`, or grey [H, W], in [0, 255].
        border: pixels left out at each edge.
        input_order: `HWC` or `CHW`.
        test_y_channel: compare the luma; a grey image is used unchanged.

    Returns:
        Two float64 tensors [1, C, h, w] in units of 1/255.

    Raises:
        ValueError: the shapes or the order are not as described, or the border leaves no pixels.
    """
    if input_order not in ("HWC", "CHW"):
        raise ValueError(f"input_order: expected HWC or CHW, got {input_order!r}")
    tensors = []
    for array in (img, img2):
        image = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))
        if image.ndim == 2:
            image = image[None]
        elif image.ndim == 3 and input_order == "HWC":
            image = image.permute(2, 0, 1)
        tensors.append(image.flip(0) / 255)
    return pair_from_tensors(tensors[0], tensors[1], border, test_y_channel)


def pair_from_tensors(img: Tensor, img2: Tensor, border: int, test_y_channel: bool) -> tuple[Tensor, Tensor]:
    """Two float RGB tensors [B, C, H, W] or [C, H, W] in [0, 1] to compare, neither clipped nor rounded.

    Returns:
        Two float64 tensors [B, C, h, w] in units of 1/255.

    Raises:
        ValueError: the shapes differ, are not those of images, or the border leaves no pixels.
    """
    check_pair(img, img2)
    tensors = []
    for image in (img, img2):
        image = in_double(crop_border(image if image.ndim == 4 else image[None], border))
        tensors.append((rgb_to_y(image) if test_y_channel and image.shape[1] == 3 else image) * 255)
    return tensors[0], tensors[1]
