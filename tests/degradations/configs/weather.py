"""Haze, rain, snow and low light."""

from typing import Any

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "HeavyRain": {"layers": [1, 2], "length": [5, 12], "width": {"choice": [3, 5]}},
    "ImageNetCSnow": {},
    "Raindrops": {"density": [10, 20], "radius": [3, 6]},
    "RawLowLight": {},
    "RetinexLowLight": {},
    "Snow": {},
}
