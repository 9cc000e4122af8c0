"""Converts between a displayed image and a camera's raw data, simplified from Brooks et al., CVPR 2019 (Unprocessing).

Forwards: white balance and digital gain, demosaicing, colour correction, gamma, tone curve; each step has its exact
inverse. Simplified: one crosstalk number replaces the colour matrices of cameras, and the gains are undone in
highlights too. All images are [..., 3, H, W] in [0, 1] unless said otherwise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from uir.degradations.filters import filter_valid, reflect_pad

GAMMA = 2.2
DARKEST = 1e-8
CROSS = torch.tensor([[0.0, 0.25, 0.0], [0.25, 1.0, 0.25], [0.0, 0.25, 0.0]])
TENT = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]])


def to_linear(display: Tensor) -> Tensor:
    """Linear light: undo the tone curve and then the gamma."""
    untoned = 0.5 - torch.sin(torch.asin(1 - 2 * display.clamp(0, 1)) / 3)
    return _power(untoned, GAMMA)


def to_display(linear: Tensor) -> Tensor:
    """Clip to [0, 1], then apply gamma 1/2.2 and the tone curve 3x² − 2x³."""
    encoded = _power(linear.clamp(0, 1), 1 / GAMMA)
    return (encoded * encoded * (3 - 2 * encoded)).clamp_(0, 1)


def white_balance(digital_gain: float, red_gain: float, blue_gain: float, like: Tensor) -> Tensor:
    """The factors of the channels from raw to linear light, [3, 1, 1]."""
    gains = [digital_gain * red_gain, digital_gain, digital_gain * blue_gain]
    return torch.tensor(gains, dtype=like.dtype, device=like.device)[:, None, None]


def mix_colours(linear: Tensor, crosstalk: float) -> Tensor:
    """The sensor's colours: 1 − c of a channel's own colour and c/2 of each other; white stays white."""
    total = _sum_of_channels(linear)
    return (1 - 1.5 * crosstalk) * linear + (0.5 * crosstalk) * total


def unmix_colours(camera: Tensor, crosstalk: float) -> Tensor:
    """The exact inverse of `mix_colours`; `crosstalk` below 2/3."""
    return (camera - (0.5 * crosstalk) * _sum_of_channels(camera)) / (1 - 1.5 * crosstalk)


def add_shot_and_read_noise(raw: Tensor, shot: float, read: float, z: Tensor) -> Tensor:
    """Raw data plus Gaussian noise of variance shot·x + read (Brooks et al., equation 2); z standard normal."""
    return raw + z * (raw.clamp(min=0) * shot + read).sqrt()


def mosaic(raw: Tensor) -> Tensor:
    """The RGGB pattern of [..., 3, H, W], red at the top left: [..., 1, H, W]."""
    red, green, blue = raw.unbind(-3)
    pattern = green.clone(memory_format=torch.contiguous_format)
    pattern[..., ::2, ::2] = red[..., ::2, ::2]
    pattern[..., 1::2, 1::2] = blue[..., 1::2, 1::2]
    return pattern.unsqueeze(-3)


def demosaic(pattern: Tensor) -> Tensor:
    """Bilinear interpolation of an RGGB pattern [..., 1, H, W], H and W at least 2, under reflect padding."""
    padded = reflect_pad(pattern, 1)
    red, green, blue = torch.zeros_like(padded), padded.clone(), torch.zeros_like(padded)
    # padding by one shifts the pattern: red is now on odd rows and columns
    red[..., 1::2, 1::2] = padded[..., 1::2, 1::2]
    blue[..., ::2, ::2] = padded[..., ::2, ::2]
    green[..., 1::2, 1::2] = 0
    green[..., ::2, ::2] = 0
    return torch.cat([filter_valid(red, TENT), filter_valid(green, CROSS), filter_valid(blue, TENT)], dim=-3)


def at_least_two(image: Tensor) -> Tensor:
    """The image; a single row or column is repeated."""
    height, width = image.shape[-2:]
    if height > 1 and width > 1:
        return image
    batch = image if image.ndim == 4 else image[None]
    padded = F.pad(batch, (0, int(width == 1), 0, int(height == 1)), mode="replicate")
    return padded.view(*image.shape[:-2], *padded.shape[-2:])


def _power(x: Tensor, exponent: float) -> Tensor:
    # not `x ** exponent`: on a CPU its last bit depends on a pixel's place in memory and on the number of threads
    return x.clamp(min=DARKEST).log_().mul_(exponent).exp_()


def _sum_of_channels(image: Tensor) -> Tensor:
    red, green, blue = image.split(1, dim=-3)
    return red + green + blue
