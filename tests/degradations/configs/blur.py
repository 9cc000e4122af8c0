"""Blur and sharpening."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = tempfile.TemporaryDirectory()
KERNELS = Path(FOLDER.name) / "kernels.npy"
np.save(KERNELS, np.random.default_rng(0).random((20, 5, 5)))

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "AnisotropicGaussianBlur": {"kernel_size": [7, 13]},
    "DefocusBlur": {"radius": {"choice": [1, 1.5, 2.3, 3, 9]}},
    "GeneralizedGaussianBlur": {"kernel_size": [7, 11]},
    "GlassBlur": {"delta": [1, 3]},
    "IsotropicGaussianBlur": {"sigma": [0.5, 3]},
    "KernelBlur": {"file": KERNELS},
    "PlateauBlur": {"kernel_size": [7, 11]},
    "Ringing": {"sigma": [0.3, 0.6]},
    "SincFilter": {"kernel_size": {"choice": [7, 13]}},
    "SpatiallyVaryingBlur": {
        "blurs": [{"type": "IsotropicGaussianBlur", "kernel_size": 0}, {"type": "MotionBlur", "length": [2, 8]}]
    },
    "TrajectoryBlur": {"length": [5, 15], "exposure": [0.3, 1.0]},
    "USMSharpen": {"weight": [0.2, 1.0], "radius": {"choice": [5, 12]}},
    "ZoomBlur": {},
}
