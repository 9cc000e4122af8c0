"""A small configuration of every registered metric, for the tests that run over all of them."""

from __future__ import annotations

from typing import Any

METRICS: dict[str, dict[str, Any]] = {
    "PSNR": {"color_space": "y", "crop_border": 2},
    "SSIM": {"protocol": "maskdcpt"},
    "calculate_psnr": {"crop_border": 2, "test_y_channel": True},
    "calculate_psnr_pt": {"crop_border": 0},
    "calculate_ssim": {"crop_border": 2},
    "calculate_ssim_pt": {"crop_border": 2},
}
