"""Small configurations of the presets."""

from __future__ import annotations

from typing import Any

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "bsrgan": {"scale": 2},
    "bsrgan_plus": {"scale": 2},
    "cdd11": {"classes": ["low_rain", "haze_snow"]},
    "dasr_liang": {},
    "dasr_wang_aniso": {"scale": 2},
    "dasr_wang_iso": {"scale": 2},
    "dcpt_10d": {},
    "dcpt_5d": {},
    "imagenet_c": {},
    "manet": {"scale": 2},
    "raim_defocus": {},
    "random_order": {},
    "realesrgan": {"scale": 2},
}
