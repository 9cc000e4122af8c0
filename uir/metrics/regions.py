"""Metrics of a part of an image: a person, or everything but it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from uir.metrics.building import Metric, Regions
from uir.metrics.protocols import prepare
from uir.metrics.psnr_metric import PSNR

OUTSIDE = "not "


def region_of(name: str, regions: Regions | None) -> Tensor:
    """The mask of a region, bool [B, 1, H, W]; `not person` is everything outside of `person`.

    Raises:
        ValueError: the images have no such region.
    """
    bare = name.removeprefix(OUTSIDE)
    if not regions or bare not in regions:
        given = ", ".join(regions) if regions else "none"
        raise ValueError(
            f"the images have no region '{bare}' (they have {given}); name the folder of its masks in the dataset's "
            "`regions`"
        )
    mask = regions[bare] > 0.5
    return ~mask if name != bare else mask


def in_region(metric: Metric, spec: Mapping[str, Any], restored: Tensor, gt: Tensor | None, mask: Tensor) -> float:
    """A metric of the pixels in a region.

    Both images are cut to the region's box; outside of the region the restored image takes the pixels of the ground
    truth, so that only errors within it count. For PSNR the squared error is averaged over the region's own pixels.

    Args:
        metric: what is measured.
        spec: its entry, `{type: PSNR, ...}`.
        restored, gt: float [B, C, H, W] in [0, 1].
        mask: bool [B, 1, H, W].

    Raises:
        ValueError: there is no ground truth, the region is empty or of another size, or the metric cannot do it.
    """
    if gt is None:
        raise ValueError("a region needs a ground truth")
    if spec.get("type", "").startswith("calculate_psnr"):
        raise ValueError("with a region, use PSNR, which averages over the region's own pixels")
    if mask.shape[-2:] != restored.shape[-2:]:
        raise ValueError(f"the region is of {list(mask.shape[-2:])} pixels, the image of {list(restored.shape[-2:])}")
    values = [_of_one(metric, spec, *each) for each in zip(restored, gt, mask.to(restored.device), strict=True)]
    return math.fsum(values) / len(values)


def _of_one(metric: Metric, spec: Mapping[str, Any], restored: Tensor, gt: Tensor, mask: Tensor) -> float:
    if not bool(mask.any()):
        raise ValueError("the region is empty in one of the images")
    rows, columns = (mask[0].any(dim).nonzero()[:, 0] for dim in (1, 0))
    box = ..., slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    patched = torch.where(mask, restored, gt)
    value = metric(patched[box], gt[box])
    if spec.get("type") != "PSNR":
        return value
    settings = PSNR(**{key: each for key, each in spec.items() if key not in ("type", "better")}).settings
    inside = mask[box].float()
    share = float(prepare(inside, inside, settings)[0].mean()) / 255  # of the pixels that the metric has averaged over
    if share == 0:
        raise ValueError("the region has no pixels inside the border that the metric leaves out")
    return value + 10 * math.log10(share)
