"""Mosaics and missing regions."""

from __future__ import annotations

from typing import Any

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "InpaintingBoxes": {"boxes": [1, 3], "area": [0.05, 0.2]},
    "InpaintingLines": {"width": [1, 4]},
    "InpaintingStrokes": {"length": 8, "width": [2, 5], "fill": {"choice": [0, 0.5]}},
    "Mosaic": {"pattern": ["rggb", "bggr", "grbg", "gbrg"], "demosaic": ["none", "bilinear", "edge_aware"]},
}
