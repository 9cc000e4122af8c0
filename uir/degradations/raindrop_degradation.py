"""Raindrops on the lens or on a pane."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.fields import uniform
from uir.degradations.stamps import stamp
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

RIM_DARKENING = 0.6
LARGEST_SCALE = 1.5
COVERAGE_STEPS = 65535


@DEGRADATION_REGISTRY.register()
class Raindrops(Degradation):
    """Raindrops: I = (1 − M)·J + R, R = M·s·(the scene refracted in the drop) (Qian et al., CVPR 2018).

    The formula is the paper's. Its data set was photographed, and there is no published generator. This one is
    procedural: a drop is an irregular disc, longer downwards. It works as a strong lens: it shows the scene upside
    down, from a wide angle, and out of focus. Its edge is darker (s), and its outline is blurred, because the camera
    focuses beyond it.

    Args:
        density: drops in 100×100 pixels, at least 0.
        radius: radius of a medium drop in pixels, above 0; drops are 0.5 to 1.5 times as large.
        blur: width of the outline in pixels, at least 0 (sharp).
        refraction: distance from a drop's centre at which its edge shows the scene, in radii, at least 0.
    """

    family: ClassVar[str] = "rain"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"density": 1, "radius": 6},
        {"density": 2, "radius": 10},
        {"density": 3, "radius": 18},
    )

    def __init__(
        self,
        density: Numbers = (0.5, 3.0),
        radius: Numbers = (5.0, 15.0),
        blur: Numbers = (1.0, 4.0),
        refraction: Numbers = (3.0, 6.0),
    ) -> None:
        self.density = Values.of("Raindrops.density", density, 0)
        self.radius = Values.of("Raindrops.radius", radius, 0.1)
        self.blur = Values.of("Raindrops.blur", blur, 0)
        self.refraction = Values.of("Raindrops.refraction", refraction, 0)

    def sample(self, seed: int, size: Size) -> Params:
        """`density`, `radius_px`, `blur_px`, `refraction` and `seed`."""
        return {
            "density": self.density.draw(seed),
            "radius_px": self.radius.draw(seed),
            "blur_px": self.blur.draw(seed),
            "refraction": self.refraction.draw(seed),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Raindrops")
        height, width = image.shape[-2:]
        drops = drops_of(params, (height, width))
        result = working(image).clone(memory_format=torch.contiguous_format)
        if len(drops.position):
            position = drops.position.to(image.device)
            pixels = result.flatten(-2)
            mask, shade = drops.mask.to(pixels), drops.shade.to(pixels)
            refracted = _look_up(result, drops.source, params["radius_px"])
            wet = pixels.index_select(-1, position) * (1 - mask) + refracted * (mask * shade)
            pixels.index_copy_(-1, position, wet)
        return result.clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Fraction of the image that this many discs at random positions cover."""
        return 1 - math.exp(-params["density"] * math.pi * params["radius_px"] ** 2 / 1e4)


@dataclass(frozen=True)
class Drops:
    """The wet pixels of an image.

    Attributes:
        position: [N] their positions, row·W + column.
        mask: [N] M, in (0, 1].
        shade: [N] s, in [0, 1].
        source: [N, 2] row and column in pixels of the scene that the drop shows there; may be outside the image.
    """

    position: Tensor
    mask: Tensor
    shade: Tensor
    source: Tensor


def drops_of(params: Mapping[str, Any], size: Size) -> Drops:
    """The drops of a record, on the CPU."""
    height, width = size
    number = round(params["density"] * height * width / 1e4)
    draws = uniform(params, number, 8).cpu()
    centres = draws[:, :2] * torch.tensor([float(height), float(width)]) - 0.5
    radius = params["radius_px"] * (0.5 + (LARGEST_SCALE - 0.5) * draws[:, 2])
    wobble = 0.2 * (draws[:, 3:7] - 0.5)
    longer = 1 + 0.4 * draws[:, 7]
    blur = max(params["blur_px"], 1e-3)

    def distance(indices: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
        """Distance from the centre, in units of the drop's own radius in that direction."""
        own = [value[indices, None, None] for value in (radius, longer, *wobble.unbind(1))]
        y = dy / own[0] / torch.where(dy > 0, own[1], 1.0)
        x = dx / own[0]
        squared = (x * x + y * y).clamp(min=1e-6)
        rho = squared.sqrt()
        # cos 2θ, sin 2θ, cos 3θ, sin 3θ as polynomials: unlike cos and atan2, these give the same bits everywhere
        second = own[2] * (x * x - y * y) / squared + own[3] * 2 * x * y / squared
        third = (own[4] * (x * x - 3 * y * y) * x + own[5] * (3 * x * x - y * y) * y) / (squared * rho)
        return rho / (1 + second + third)

    def coded(indices: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
        """Coverage in the upper digits, the drop's number in the lower ones: the drop that covers most is visible."""
        edge = (1 - distance(indices, dy, dx)) * radius[indices, None, None] / blur + 0.5
        steps = (edge.clamp(0, 1) * COVERAGE_STEPS).round().double()
        return torch.where(steps > 0, steps * number + indices[:, None, None], 0.0)

    reach = radius * longer * (1 + wobble.abs().sum(dim=1)) + blur
    code = stamp(size, centres, reach, coded, torch.float64).flatten()
    position = code.nonzero()[:, 0]
    mask = (code[position] / max(number, 1)).floor()
    own = (code[position] - mask * number).long()
    pixel = torch.stack((position // width, position % width), dim=1).float()
    offset = pixel - centres[own]
    rho = distance(own, offset[:, :1, None], offset[:, 1:, None])[:, 0, 0].clamp(max=1)
    shade = 1 - RIM_DARKENING * rho * rho * rho * rho
    # rays bend more towards the edge: the picture in the drop is like that of a fish-eye lens, upside down
    source = centres[own] - offset * (params["refraction"] * (0.5 + 0.5 * rho * rho))[:, None]
    return Drops(position, (mask / COVERAGE_STEPS).float(), shade, source)


def _look_up(image: Tensor, source: Tensor, radius_px: float) -> Tensor:
    """The image [..., C, H, W] out of focus at [N, 2] points, bilinear in a reduced copy; outside, it is mirrored."""
    height, width = image.shape[-2:]
    factor = max(1, min(8, round(radius_px / 3), height, width))
    reduced = F.avg_pool2d(image, factor, ceil_mode=True, count_include_pad=False)
    rows, columns = reduced.shape[-2:]
    flat = reduced.flatten(-2)
    row, row_share = _mirrored(source[:, 0], height, factor, rows)
    column, column_share = _mirrored(source[:, 1], width, factor, columns)
    total = torch.zeros((), dtype=image.dtype, device=image.device)
    for down in (0, 1):
        for right in (0, 1):
            index = (row + down).clamp(max=rows - 1) * columns + (column + right).clamp(max=columns - 1)
            share = (row_share if down else 1 - row_share) * (column_share if right else 1 - column_share)
            total = total + flat.index_select(-1, index.to(image.device)) * share.to(flat)
    return total


def _mirrored(position: Tensor, length: int, factor: int, reduced: int) -> tuple[Tensor, Tensor]:
    """Pixel below, and weight of the one above, in the reduced image."""
    folded = (position + 0.5).remainder(2 * length)
    folded = torch.minimum(folded, 2 * length - folded)
    place = (folded / factor - 0.5).clamp(0, reduced - 1)
    below = place.floor()
    return below.long(), place - below
