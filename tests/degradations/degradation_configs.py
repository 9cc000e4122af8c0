"""A small configuration of every registered degradation, for the tests that run over all of them.

Each must draw something that differs from seed to seed.
"""

from __future__ import annotations

from typing import Any

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "GaussianNoise": {"sigma": [5, 50], "grey_probability": 0.5},
    "Haze": {},
    "LowLight": {"noise_sigma": [1, 5]},
    "Maybe": {"step": {"type": "GaussianNoise", "sigma": 25}, "p": 1.0},
    "MotionBlur": {"length": [3, 9]},
    "OneOf": {"steps": [{"type": "LowLight"}, {"type": "GaussianNoise"}], "weights": [1, 3]},
    "RainStreaks": {"length": [5, 12], "width": {"choice": [3, 5]}},
    "Sequence": {
        "steps": [
            {"type": "Haze", "beta": {"choice": [0.6, 1.0]}},
            {"type": "Maybe", "p": 0.5, "step": {"type": "MotionBlur", "length": 5}},
            {"type": "GaussianNoise", "sigma": 10},
        ]
    },
}
