"""RGB to YCbCr and back, as in MATLAB's `rgb2ycbcr`: ITU-R BT.601, studio range.

Y lies in [16, 235] and Cb, Cr in [16, 240] of 255, so that white is Y = 235/255 and not 1. This is the luma on which
super-resolution tables are computed; it is not the full-range YCbCr of JPEG.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Rows Y, Cb, Cr over columns R, G, B in [0, 1]; with the offset added the result is in units of 1/255 (BT.601).
RGB_TO_YCBCR = (
    (65.481, 128.553, 24.966),
    (-37.797, -74.203, 112.0),
    (112.0, -93.786, -18.214),
)
YCBCR_OFFSET = (16.0, 128.0, 128.0)


def rgb_to_ycbcr(image: Tensor) -> Tensor:
    """Studio-range YCbCr of an RGB image.

    Args:
        image: float RGB [..., 3, H, W] in [0, 1].

    Returns:
        [..., 3, H, W], Y, Cb and Cr divided by 255, not rounded; computed in the image's own floating type.

    Raises:
        ValueError: the image is not of a floating type, or does not have three channels.
    """
    _check_image(image, "rgb_to_ycbcr")
    matrix = torch.tensor(RGB_TO_YCBCR, dtype=image.dtype, device=image.device)
    return (_mix_channels(image, matrix) + _offset(image)) / 255


def rgb_to_y(image: Tensor) -> Tensor:
    """Studio-range luma of an RGB image.

    Args:
        image: float RGB [..., 3, H, W] in [0, 1].

    Returns:
        [..., 1, H, W] in [16/255, 235/255], not rounded; the first channel of `rgb_to_ycbcr`.

    Raises:
        ValueError: the image is not of a floating type, or does not have three channels.
    """
    _check_image(image, "rgb_to_y")
    red, green, blue = image.split(1, dim=-3)
    weight_red, weight_green, weight_blue = RGB_TO_YCBCR[0]
    return (weight_red * red + weight_green * green + weight_blue * blue + YCBCR_OFFSET[0]) / 255


def ycbcr_to_rgb(image: Tensor) -> Tensor:
    """RGB of a studio-range YCbCr image: the exact inverse of `rgb_to_ycbcr`.

    Args:
        image: float YCbCr [..., 3, H, W], divided by 255.

    Returns:
        RGB [..., 3, H, W], not clipped: colours that RGB cannot represent are outside [0, 1].

    Raises:
        ValueError: the image is not of a floating type, or does not have three channels.
    """
    _check_image(image, "ycbcr_to_rgb")
    inverse = torch.linalg.inv(torch.tensor(RGB_TO_YCBCR, dtype=torch.float64))
    return _mix_channels(image * 255 - _offset(image), inverse.to(image.device, image.dtype))


def _check_image(image: Tensor, function: str) -> None:
    if not image.is_floating_point() or image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(
            f"{function}: expected a float image [..., 3, H, W] in [0, 1], got {image.dtype} {list(image.shape)}; "
            "divide integer images by their largest value and put the channels before the pixels"
        )


def _mix_channels(image: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("oc,...chw->...ohw", matrix, image)


def _offset(image: Tensor) -> Tensor:
    return torch.tensor(YCBCR_OFFSET, dtype=image.dtype, device=image.device)[:, None, None]
