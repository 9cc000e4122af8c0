"""The preparation of two images before they are compared, and the settings that a protocol fixes.

The same pair of images has many PSNRs: on the luma it is about 5 dB higher than on RGB, and rounding, borders and
the window of SSIM change the numbers too. A `Protocol` fixes all settings; compare only numbers of the same protocol.
The published ones are in `uir.metrics.published_protocols`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from uir.degradations.noise_rules import NoiseRule
from uir.layers.color import rgb_to_y
from uir.registry import PROTOCOLS, nearest_names

ColorSpace = Literal["rgb", "y", "yiq"]
Rounding = Literal["uint8", "none"]
Window = Literal["gaussian", "uniform"]


@dataclass(frozen=True)
class Protocol:
    """How two images are compared.

    Attributes:
        crop_border: pixels left out at each edge; None if the caller must set it.
        color_space: `rgb`, `y` for MATLAB's BT.601 luma (studio range, 16-235), or `yiq` for the luma of YIQ (BT.601,
            full range, 0-255), which pyiqa uses.
        rounding: `uint8` rounds both images as if they were saved, `none` compares floats.
        clip: clip both images to [0, 1] first.
        round_luma: round the luma to whole grey levels, as MATLAB's `rgb2ycbcr` does for integer images.
        multiple_of: before the border is cut, crop at the centre to the largest multiples of this number.
        window: window of SSIM; `gaussian` is 11×11 with σ 1.5 (Wang et al. 2004), `uniform` is scikit-image's 7×7 box.
        name: the name of a published protocol, empty for single settings.
        description: one line about the use of the protocol.
        noise: how the protocol makes Gaussian noise where a test set makes its own; None leaves it as the set says.
        score: the name in `SCORES` of the composite score that is measured with its terms; empty for PSNR and SSIM.
        source: where the settings come from.
    """

    crop_border: int | None = 0
    color_space: ColorSpace = "rgb"
    rounding: Rounding = "uint8"
    clip: bool = True
    round_luma: bool = False
    multiple_of: int = 1
    window: Window = "gaussian"
    name: str = ""
    description: str = ""
    noise: NoiseRule | None = None
    score: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for field, allowed in _ALLOWED.items():
            if getattr(self, field) not in allowed:
                raise ValueError(
                    f"{field}: expected {', '.join(allowed[:-1])} or {allowed[-1]}, got {getattr(self, field)!r}"
                )
        for field, least in (("crop_border", 0), ("multiple_of", 1)):
            value = getattr(self, field)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ValueError(f"{field}: expected a whole number of at least {least}, got {value!r}")
        if self.rounding == "uint8" and not self.clip:
            raise ValueError("clip: must be true with rounding 'uint8'; an 8-bit image has no values outside [0, 1]")

    def describe(self, channel: str | None = None) -> str:
        """The settings in short, for a table's heading: `Y, border 4, uint8`.

        Args:
            channel: what the images' only channel is, where they have one: it is compared as it is.
        """
        parts = [
            channel or self.color_space.upper() + (" rounded" if self.round_luma and self.color_space != "rgb" else ""),
            f"border {self.crop_border}",
            "uint8" if self.rounding == "uint8" else "unrounded",
        ]
        if not self.clip:
            parts.append("unclipped")
        if self.multiple_of > 1:
            parts.append(f"multiple of {self.multiple_of}")
        if self.name:
            parts.append(f"protocol {self.name}")
        return ", ".join(parts)


_ALLOWED = {"color_space": ("rgb", "y", "yiq"), "rounding": ("uint8", "none"), "window": ("gaussian", "uniform")}


def protocol_named(name: str) -> Protocol:
    """The published protocol of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in PROTOCOLS:
        near = nearest_names(name, PROTOCOLS.keys())
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"protocol: there is no protocol {name!r}{hint} (known: {', '.join(PROTOCOLS.keys())})")
    protocol: Protocol = PROTOCOLS.get(name)
    return protocol


def resolve(
    protocol: str | None = None,
    *,
    crop_border: int | None = None,
    color_space: ColorSpace | None = None,
    rounding: Rounding | None = None,
    clip: bool | None = None,
    round_luma: bool | None = None,
    multiple_of: int | None = None,
    window: Window | None = None,
) -> Protocol:
    """The settings of a named protocol, or single settings over the defaults of `Protocol`.

    Raises:
        ValueError: the protocol is unknown, an argument contradicts it, or it needs a `crop_border` and there is
            none.
    """
    settings = {
        "crop_border": crop_border, "color_space": color_space, "rounding": rounding, "clip": clip,
        "round_luma": round_luma, "multiple_of": multiple_of, "window": window,
    }  # fmt: skip
    settings = {field: value for field, value in settings.items() if value is not None}
    if protocol is None:
        return Protocol(**settings)  # type: ignore[arg-type]
    published = protocol_named(protocol)
    fixed = asdict(published)
    for field, value in settings.items():
        if fixed[field] is not None and fixed[field] != value:
            raise ValueError(
                f"{field}: {value!r} contradicts protocol '{protocol}', which fixes {fixed[field]!r}; "
                f"leave out {field} or the protocol"
            )
    settled = replace(published, **settings)  # type: ignore[arg-type]
    if settled.crop_border is None:
        raise ValueError(
            f"crop_border: protocol '{protocol}' leaves it open; give the pixels to leave out at each edge, 0 for none"
        )
    return settled


def prepare(restored: Tensor, gt: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Both images, prepared as the protocol says.

    Args:
        restored, gt: float [B, C, H, W] or [C, H, W] in [0, 1], C three (RGB) or one; a one-channel image is used
            unchanged, whatever the colour space.
        protocol: the settings, `crop_border` included.

    Returns:
        Two float64 tensors [B, C, h, w] in units of 1/255.

    Raises:
        ValueError: the shapes differ, are not those of images, or the border leaves no pixels.
    """
    check_pair(restored, gt)
    images = []
    for image in (restored, gt):
        image = image if image.ndim == 4 else image[None]
        image = crop_border(_crop_to_multiple(image, protocol.multiple_of), protocol.crop_border or 0)
        image = image if image.dtype == torch.float64 else image.float()
        if protocol.clip:
            image = image.clamp(0, 1)
        # Rounded before the change to float64, because the saved file gets its grey levels in this order.
        image = in_double((image * 255).round()) if protocol.rounding == "uint8" else in_double(image) * 255
        if protocol.color_space != "rgb" and image.shape[1] == 3:
            image = rgb_to_y(image / 255) * 255 if protocol.color_space == "y" else _full_luma(image)
            image = image.round() if protocol.round_luma else image
        images.append(image)
    return images[0], images[1]


def check_pair(restored: Tensor, gt: Tensor) -> None:
    """Raise ValueError unless both are float images of the same shape, [B, C, H, W] or [C, H, W], C one or three."""
    if restored.shape != gt.shape:
        raise ValueError(
            f"the restored image {list(restored.shape)} and its ground truth {list(gt.shape)} differ in shape; "
            "check the scale of the network and that the pair belongs together"
        )
    if restored.ndim not in (3, 4) or restored.shape[-3] not in (1, 3):
        raise ValueError(f"expected images [B, 3, H, W] or [3, H, W] (or one channel), got {list(restored.shape)}")
    for name, image in (("restored image", restored), ("ground truth", gt)):
        if not image.is_floating_point():
            raise ValueError(
                f"expected float images in [0, 1], but the {name} is {image.dtype}; divide it by its largest value"
            )


def crop_border(image: Tensor, border: int) -> Tensor:
    """The image [..., H, W] without `border` pixels at each edge."""
    height, width = image.shape[-2:]
    if border < 0:
        raise ValueError(f"crop_border: expected at least 0 pixels, got {border}")
    if min(height, width) <= 2 * border:
        raise ValueError(f"crop_border: {border} pixels at each edge leave nothing of a {height}×{width} image")
    return image[..., border : height - border, border : width - border]


def _crop_to_multiple(image: Tensor, multiple: int) -> Tensor:
    height, width = image.shape[-2:]
    top, left = height % multiple // 2, width % multiple // 2
    kept_height, kept_width = height - height % multiple, width - width % multiple
    if min(kept_height, kept_width) == 0:
        raise ValueError(f"multiple_of: a {height}×{width} image is smaller than {multiple} pixels")
    return image[..., top : top + kept_height, left : left + kept_width]


def _full_luma(image: Tensor) -> Tensor:
    """The luma of YIQ, [B, 1, H, W] of RGB [B, 3, H, W] in the same units."""
    red, green, blue = image.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def in_double(image: Tensor) -> Tensor:
    """The image in float64."""
    # Apple's GPUs have no float64: there the CPU makes the comparison.
    return image.cpu().double() if image.device.type == "mps" else image.double()
