"""Composite scores of challenges, as data: each is a list of terms (see `uir.metrics.composite_metric`).

A term is `weight · t` with t = (value - low) / (high - low), or 1 - t if it is inverted, because less is better.
"""

from __future__ import annotations

from typing import Any

Terms = list[dict[str, Any]]

_PSNR = {"type": "PSNR"}
# The organisers' scripts measure by pyiqa, whose SSIM and NIQE are on the luma of YIQ.
_SSIM = {"type": "SSIM", "color_space": "yiq", "round_luma": True}
_NIQE = {"type": "NIQE", "luma": "yiq"}

SCORES: dict[str, Terms] = {
    "raim2024": [
        {"metric": _PSNR, "weight": 20, "range": [0, 50]},
        {"metric": _SSIM, "weight": 15, "range": [0.5, 1]},
        {"metric": {"type": "LPIPS"}, "weight": 20, "range": [0, 0.4], "invert": True},
        {"metric": {"type": "DISTS"}, "weight": 40, "range": [0, 0.3], "invert": True},
        {"metric": _NIQE, "weight": 30, "range": [0, 10], "invert": True},
    ],
    # 20 · (1 - LPIPS) / 0.4 and so on: the inverted value over the whole range, and the divisor in the weight
    "raim2024_printed": [
        {"metric": _PSNR, "weight": 20, "range": [0, 50]},
        {"metric": _SSIM, "weight": 15, "range": [0.5, 1]},
        {"metric": {"type": "LPIPS"}, "weight": 20 / 0.4, "invert": True},
        {"metric": {"type": "DISTS"}, "weight": 40 / 0.3, "invert": True},
        {"metric": _NIQE, "weight": 30 / 10, "invert": True},
    ],
    "raim2026_hdr": [
        {"metric": _PSNR, "weight": 30, "range": [0, 50]},
        {"metric": _SSIM, "weight": 22.5, "range": [0.5, 1]},
        {"metric": {"type": "LPIPS"}, "weight": 30, "range": [0, 0.4], "invert": True},
    ],
    "ntire2025_perceptual": [
        {"metric": {"type": "LPIPS"}, "weight": 1, "invert": True},
        {"metric": {"type": "DISTS"}, "weight": 1, "invert": True},
        {"metric": {"type": "pyiqa:clipiqa"}, "weight": 1},
        {"metric": {"type": "pyiqa:maniqa"}, "weight": 1},
        {"metric": {"type": "pyiqa:musiq"}, "weight": 1, "range": [0, 100]},
        {"metric": _NIQE, "weight": 1, "range": [0, 10], "invert": True, "at_least": 0},
    ],
}

OF_MEANS = {"ntire2025_perceptual"}
"""Scores of the means over the images; the others are the mean of the images' scores."""
