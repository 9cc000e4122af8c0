"""Lossy coding."""

from __future__ import annotations

from typing import Any

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "DiffJPEG": {"quality": [40, 90]},
    "JPEG": {"quality": [40, 90]},
    "Quantise": {"levels": [100, 250]},
    "WebP": {"quality": [40, 90]},
}
