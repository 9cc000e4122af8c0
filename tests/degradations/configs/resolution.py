"""Resolution."""

from typing import Any

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "DownUp": {"scale": [0.25, 0.5]},
    "Pixelate": {},
    "Resize": {"weights": {"down": 0.7, "keep": 0.1, "up": 0.2}},
    "SFold": {"scale": [2, 4]},
}
