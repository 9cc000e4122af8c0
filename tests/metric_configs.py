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
    "PSNR": {"color_space": "y", "crop_border": 2},
    "SSIM": {"protocol": "maskdcpt"},
    "calculate_psnr": {"crop_border": 2, "test_y_channel": True},
    "calculate_psnr_pt": {"crop_border": 0},
    "calculate_ssim": {"crop_border": 2},
    "calculate_ssim_pt": {"crop_border": 2},
}
