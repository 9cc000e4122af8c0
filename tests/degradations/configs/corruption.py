"""Textures of ImageNet-C and shadows."""

from typing import Any

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "Fog": {},
    "Frost": {},
    "Shadow": {},
    "Spatter": {},
}
