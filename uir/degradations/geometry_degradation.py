"""Degradations that move pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.fields import uniform
from uir.degradations.filters import filter2d
from uir.degradations.kernels import gaussian_kernel
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

FINEST_SIGMA = 4.0  # in cells of the grid on which the displacement is drawn
ROUGHEST = 29.28 / 2.44**2  # alpha / σ² of ImageNet-C's most severe level


@DEGRADATION_REGISTRY.register()
class ElasticTransform(Degradation):
    """Elastic transform: a random affine map, then displacement by smoothed noise (ImageNet-C; Simard, ICDAR 2003).

    ImageNet-C's five severities (alpha, sigma, affine), chosen for images of 224 px: (488, 170.8, 24.4), (488, 19.52,
    48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88). Bilinear, with reflected borders. Wide noise is
    drawn on a coarser grid with the same statistics; both maps are applied in one step.

    Args:
        alpha: displacement in pixels of noise in [-1, 1] before smoothing, at least 0.
        sigma: σ of the smoothing in pixels, at least 0.5.
        affine: each of three points around the centre is moved by at most this many pixels along each axis.
    """

    family: ClassVar[str] = "geometry"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"alpha": 488, "sigma": 19.52, "affine": 48.8},
        {"alpha": 12.2, "sigma": 2.44, "affine": 4.88},
        {"alpha": 29.28, "sigma": 2.44, "affine": 4.88},
    )

    def __init__(self, alpha: Numbers = (12.2, 29.28), sigma: Numbers = 2.44, affine: Numbers = 4.88) -> None:
        self.alpha = Values.of("ElasticTransform.alpha", alpha, 0)
        self.sigma = Values.of("ElasticTransform.sigma", sigma, 0.5)
        self.affine = Values.of("ElasticTransform.affine", affine, 0)

    def sample(self, seed: int, size: Size) -> Params:
        """`alpha_px`, `sigma_px`, `affine_px` and `seed`."""
        return {
            "alpha_px": self.alpha.draw(seed),
            "sigma_px": self.sigma.draw(seed),
            "affine_px": self.affine.draw(seed),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "ElasticTransform")
        clear = working(image).contiguous()
        places = source_places(params, (image.shape[-2], image.shape[-1]))
        return sampled_at(clear, places.to(clear)).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Displacement between neighbours, alpha/σ², relative to ImageNet-C's top level; the affine map is ignored."""
        return float(min(1.0, params["alpha_px"] / params["sigma_px"] ** 2 / ROUGHEST))


def source_places(params: Mapping[str, Any], size: Size) -> Tensor:
    """The source of each pixel of the result, (x, y) in pixels, [H, W, 2] float64 on the CPU."""
    rows, columns = (torch.arange(length, dtype=torch.float64) for length in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    shift = displacement(params, size).double()
    x, y = x + shift[0], y + shift[1]
    matrix = affine_matrix(params, size).tolist()
    return torch.stack([row[0] * x + row[1] * y + row[2] for row in matrix], dim=-1)


def displacement(params: Mapping[str, Any], size: Size) -> Tensor:
    """Smoothed noise times alpha along x and y, in pixels, [2, H, W] float32 on the CPU."""
    cell = max(1, int(params["sigma_px"] / FINEST_SIGMA))
    sigma = params["sigma_px"] / cell
    grid = [-(-length // cell) for length in size]
    noise = uniform(params, 2, *grid, stream="displacement") * 2 - 1
    smooth = filter2d(noise, gaussian_kernel(2 * int(3 * sigma + 0.5) + 1, sigma))
    # the mean over a cell's pixels has 1 / cell of the standard deviation of one pixel
    smooth = smooth * (params["alpha_px"] / cell)
    return smooth if cell == 1 else F.interpolate(smooth[None], size=size, mode="bilinear")[0]


def affine_matrix(params: Mapping[str, Any], size: Size) -> Tensor:
    """Maps positions in the result to positions in the image, [2, 3] float64: the inverse of moving three points."""
    centre = torch.tensor([size[1] // 2, size[0] // 2], dtype=torch.float64)
    arm = max(1, min(size) // 3)
    points = centre + arm * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
    # at most a third of the distance, so that small images are not mirrored
    reach = min(params["affine_px"], arm / 3)
    moved = points + reach * (uniform(params, 3, 2, stream="affine").double() * 2 - 1)
    homogeneous = torch.cat([moved, torch.ones(3, 1, dtype=torch.float64)], dim=1)
    return torch.linalg.solve(homogeneous, points).T


def sampled_at(image: Tensor, places: Tensor) -> Tensor:
    """[C, H, W] or [B, C, H, W] at `places` (x, y) in pixels, [H, W, 2]; bilinear, with reflected borders."""
    batch = image if image.ndim == 4 else image[None]
    last = torch.tensor([max(1, length - 1) for length in (image.shape[-1], image.shape[-2])])
    grid = places * 2 / last.to(places) - 1
    result = F.grid_sample(
        batch, grid.expand(len(batch), *grid.shape), mode="bilinear", padding_mode="reflection", align_corners=True
    )
    return result.view(image.shape)
