"""One colour per pixel, as on a sensor with a Bayer pattern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from uir.core.seeds import numpy_generator
from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.filters import filter_valid, reflect_pad
from uir.degradations.noise_degradation import check_flag
from uir.degradations.raw_pipeline import CROSS, TENT, at_least_two
from uir.registry import DEGRADATION_REGISTRY

# row and column of red in the top left 2×2 pixels
PATTERNS = {"rggb": (0, 0), "grbg": (0, 1), "gbrg": (1, 0), "bggr": (1, 1)}
DEMOSAICS = {"none": 1.0, "bilinear": 0.5, "edge_aware": 0.25}


@DEGRADATION_REGISTRY.register()
class Mosaic(Degradation):
    """Mosaic: each pixel keeps one of its three colours, in a 2×2 pattern (Bayer, US patent 3971065, 1976).

    Args:
        pattern: the colours of the top left 2×2 pixels, row by row: rggb, grbg, gbrg or bggr; one of a list is chosen.
        demosaic: the values for the missing colours; one of a list is chosen. `none`: 0. `bilinear`: the mean of the
            nearest known values. `edge_aware`, in DCPT's data: the same, but green along the direction in which it
            changes less (Hibbard, US patent 5382976, 1995; OpenCV's `_EA`).
        legacy: red and blue are exchanged in the result, as in DCPT's data.
    """

    family: ClassVar[str] = "mosaic"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"demosaic": "edge_aware"},
        {"demosaic": "bilinear"},
        {"demosaic": "none"},
    )

    def __init__(
        self, pattern: str | list[str] = "rggb", demosaic: str | list[str] = "none", legacy: bool = False
    ) -> None:
        self.patterns = _names("pattern", pattern, PATTERNS)
        self.methods = _names("demosaic", demosaic, DEMOSAICS)
        self.legacy = check_flag("Mosaic.legacy", legacy)

    def sample(self, seed: int, size: Size) -> Params:
        """`pattern` and `demosaic`, and `legacy` if it is true; there is no field."""
        pattern = int(numpy_generator(seed, "pattern").integers(len(self.patterns)))
        method = int(numpy_generator(seed, "demosaic").integers(len(self.methods)))
        params: Params = {"pattern": self.patterns[pattern], "demosaic": self.methods[method]}
        return {**params, "legacy": True} if self.legacy else params

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`. A grey image is unchanged, because it has no colour to lose.

        Raises:
            ValueError: the image has neither one nor three channels.
        """
        check_image(image, "Mosaic")
        channels, height, width = image.shape[-3:]
        if channels not in (1, 3):
            raise ValueError(f"Mosaic: expected 1 or 3 channels, got shape {list(image.shape)}")
        if channels == 1 and params["demosaic"] == "none":
            return image.clamp(0, 1)
        size = (height, width)
        rgb = at_least_two(working(image).expand(*image.shape[:-3], 3, *size))
        result = sparse(rgb, params["pattern"])
        if params["demosaic"] != "none":
            result = demosaiced(result, params["pattern"], params["demosaic"] == "edge_aware")
        result = result[..., :height, :width].clamp(0, 1)
        if params.get("legacy"):
            result = result.flip(-3)
        return (result if channels == 3 else result.mean(-3, keepdim=True)).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Remaining damage: 1 if two of three colours are missing, 0.5 after bilinear, 0.25 after edge-aware."""
        return DEMOSAICS[params["demosaic"]]


def sparse(rgb: Tensor, pattern: str) -> Tensor:
    """Each pixel's colour in its channel, the other channels 0; [..., 3, H, W]."""
    result = torch.zeros_like(rgb, memory_format=torch.contiguous_format)
    for channel, row, column in _places(pattern):
        result[..., channel, row::2, column::2] = rgb[..., channel, row::2, column::2]
    return result


def demosaiced(colours: Tensor, pattern: str, edge_aware: bool) -> Tensor:
    """The missing values of `sparse` from their neighbours, H and W at least 2; values outside are unknown."""
    is_known = sparse(torch.ones_like(colours[..., :2, :2]), pattern)
    rows, columns = (-(-length // 2) for length in colours.shape[-2:])
    is_known = is_known.repeat(*(1,) * (colours.ndim - 2), rows, columns)[..., : colours.shape[-2], : colours.shape[-1]]
    planes = []
    for channel, kernel in enumerate((TENT, CROSS, TENT)):
        fields = (F.pad(field[..., channel, :, :], (1, 1, 1, 1)) for field in (colours, is_known))
        sums, counts = (filter_valid(field, kernel) for field in fields)
        planes.append(sums / counts)
    if edge_aware:
        padded = reflect_pad(colours[..., 1:2, :, :], 1).squeeze(-3)
        left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
        above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
        across = (left - right).abs() <= (above - below).abs()
        along = torch.where(across, left + right, above + below) / 2
        planes[1] = torch.where(is_known[..., 1, :, :] > 0, planes[1], along)
    return torch.stack(planes, dim=-3)


def _places(pattern: str) -> tuple[tuple[int, int, int], ...]:
    """Channel, first row and first column of red, both greens and blue."""
    row, column = PATTERNS[pattern]
    return (0, row, column), (1, row, 1 - column), (1, 1 - row, column), (2, 1 - row, 1 - column)


def _names(argument: str, given: Any, known: Mapping[str, Any]) -> list[str]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not names or any(name not in known for name in names):
        raise ValueError(f"Mosaic.{argument}: expected one or some of {', '.join(known)}, got {given!r}")
    return list(names)
