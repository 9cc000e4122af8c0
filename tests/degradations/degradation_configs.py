"""A small configuration of every registered degradation, for the tests that run over all of them.

Each must draw something that differs from seed to seed.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import configs

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "GaussianNoise": {"sigma": [5, 50], "grey_probability": 0.5},
    "Haze": {},
    "LowLight": {"noise_sigma": [1, 5]},
    "Level": {
        "levels": {"weak": {"type": "GaussianNoise", "sigma": 2}, "strong": {"type": "GaussianNoise", "sigma": 40}},
        "weights": {"weak": 1, "strong": 2},
    },
    "Mark": {"label": "noise"},
    "Maybe": {"step": {"type": "GaussianNoise", "sigma": 25}, "p": 1.0},
    "MotionBlur": {"length": [3, 9]},
    "OneOf": {"steps": [{"type": "LowLight"}, {"type": "GaussianNoise"}], "weights": [1, 3]},
    "RainStreaks": {"length": [5, 12], "width": {"choice": [3, 5]}},
    "Repeat": {"step": {"type": "GaussianNoise", "sigma": 5}, "times": [1, 3]},
    "Replay": {
        "record": {
            "label": "noise",
            "seed": 1,
            "steps": [
                {
                    "op": "Haze",
                    "airlight": 0.8,
                    "beta": 1.0,
                    "depth_form": "linear",
                    "depth_gradient": 0.5,
                    "depth_angle_deg": 3.0,
                    "seed": 9,
                }
            ],
        }
    },
    "Sequence": {
        "steps": [
            {"type": "Haze", "beta": {"choice": [0.6, 1.0]}},
            {"type": "Maybe", "p": 0.5, "step": {"type": "MotionBlur", "length": 5}},
            {"type": "GaussianNoise", "sigma": 10},
        ]
    },
    "Shuffle": {"steps": [{"type": "LowLight"}, {"type": "GaussianNoise"}, {"type": "MotionBlur", "length": 5}]},
    "Stage": {"name": "first", "step": {"type": "GaussianNoise"}},
    "Task": {"tasks": {"haze": {"type": "Haze"}, "noise": {"type": "GaussianNoise"}}},
}

for _, name, _ in pkgutil.iter_modules(configs.__path__):
    DEGRADATIONS.update(importlib.import_module(f"{configs.__name__}.{name}").DEGRADATIONS)
