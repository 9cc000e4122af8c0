"""The geometry of training patches: a random crop, flips and a transposition, the same for both images of a pair."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uir.core.seeds import derive_seed


class Flips(NamedTuple):
    """The changes of a patch, in this order: flip left-right, flip up-down, swap rows and columns.

    BasicSR calls the last one `rot90`. It is a transposition, which is a rotation only together with one flip.
    """

    hflip: bool
    vflip: bool
    rot90: bool


def draw_flips(seed: int, use_hflip: bool, use_rot: bool) -> Flips:
    """Each with probability 1/2: the first if `use_hflip`, the other two if `use_rot` (as in BasicSR's `augment`)."""
    bits = derive_seed(seed, "flips")
    hflip, vflip, rot90 = bool(bits & 1), bool(bits & 2), bool(bits & 4)
    return Flips(use_hflip and hflip, use_rot and vflip, use_rot and rot90)


def apply_flips(image: np.ndarray, flips: Flips) -> np.ndarray:
    """The flipped HWC image (a view)."""
    if flips.hflip:
        image = image[:, ::-1]
    if flips.vflip:
        image = image[::-1]
    return image.transpose(1, 0, 2) if flips.rot90 else image


def draw_corner(seed: int, height: int, width: int, patch: int) -> tuple[int, int]:
    """Top and left of a `patch` × `patch` window in an image of `height` × `width`, all positions equally likely.

    Raises:
        ValueError: the image is smaller than the patch.
    """
    if height < patch or width < patch:
        raise ValueError(f"the image is {height}x{width} (height x width), smaller than a patch of {patch}x{patch}")
    # A remainder of 63 bits prefers no position by more than one part in 10¹⁴, and takes a tenth of a generator's time.
    return derive_seed(seed, "top") % (height - patch + 1), derive_seed(seed, "left") % (width - patch + 1)


def crop_pair(
    gt: np.ndarray, lq: np.ndarray, corner: tuple[int, int], lq_patch: int, scale: int
) -> tuple[np.ndarray, np.ndarray]:
    """The square of `lq_patch` pixels at `corner` of the HWC lq image, and the same area of the gt image (views)."""
    top, left = corner
    gt_top, gt_left, gt_patch = top * scale, left * scale, lq_patch * scale
    return (
        gt[gt_top : gt_top + gt_patch, gt_left : gt_left + gt_patch],
        lq[top : top + lq_patch, left : left + lq_patch],
    )
