"""A small configuration of every registered metric, for the tests that run over all of them."""

from __future__ import annotations

from typing import Any

_TERMS = [
    {"metric": {"type": "PSNR"}, "weight": 20, "range": [0, 50]},
    {"metric": "SSIM", "weight": 15, "range": [0.5, 1], "at_least": 0},
]
METRICS: dict[str, dict[str, Any]] = {
    "CompositeScore": {"terms": _TERMS},
    "CompositeScoreOfMeans": {"terms": _TERMS},
    "Contextual": {"layers": ["conv1_1"]},
    "DISTS": {},
    "DeltaE": {"crop_border": 1},
    "FID": {},
    "LPIPS": {},
    "MSSSIM": {"color_space": "y"},
    "NIQE": {"luma": "yiq"},
    "PSNR": {"color_space": "y", "crop_border": 2},
    "PSNRB": {"color_space": "rgb"},
    "SSIM": {"protocol": "maskdcpt"},
    "calculate_niqe": {"crop_border": 0},
    "calculate_psnr": {"crop_border": 2, "test_y_channel": True},
    "calculate_psnr_pt": {"crop_border": 0},
    "calculate_ssim": {"crop_border": 2},
    "calculate_ssim_pt": {"crop_border": 2},
}

SIZES: dict[str, tuple[int, int]] = {
    "LPIPS": (32, 33),
    "MSSSIM": (176, 179),
    "NIQE": (98, 193),
    "calculate_niqe": (98, 193),
}
"""The size of the test's images, where a metric needs larger ones than others."""

TRUNKS: dict[str, str] = {"Contextual": "vgg19", "DISTS": "vgg16", "FID": "inception", "LPIPS": "alexnet"}
"""The network whose weights a metric reads from a file."""
