"""Noise."""

from __future__ import annotations

from typing import Any

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "CameraISP": {},
    "PoissonNoise": {"scale": [0.05, 0.2]},
    "ProtocolNoise": {"protocol": "promptir", "sigma": [5, 50]},
    "RawNoise": {},
    "SaltAndPepper": {},
    "SpeckleNoise": {},
}
