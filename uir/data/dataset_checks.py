"""Checks of the arguments that several datasets share."""

from __future__ import annotations

PHASES = ("train", "val", "test")


def check_phase(phase: str) -> bool:
    """Whether `phase` is training (random crops and flips).

    Raises:
        ValueError: it is none of `train`, `val`, `test`.
    """
    if phase not in PHASES:
        raise ValueError(f"phase: got '{phase}'; expected one of {', '.join(PHASES)}")
    return phase == "train"


def check_patch(gt_size: int | None, scale: int) -> int | None:
    """Side of the training patch in pixels of `lq`; None for whole images.

    Raises:
        ValueError: `scale` is not a positive integer, or `gt_size` not a positive multiple of it.
    """
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise ValueError(f"scale: got {scale!r}; expected a whole number, 1 or more")
    if gt_size is None:
        return None
    if isinstance(gt_size, bool) or not isinstance(gt_size, int) or gt_size < 1 or gt_size % scale:
        raise ValueError(f"gt_size: got {gt_size!r}; expected a positive multiple of the scale {scale}")
    return gt_size // scale
