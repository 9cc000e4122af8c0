"""Exposure, colour and geometry."""

from typing import Any

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "Brightness": {},
    "Clip": {},
    "Contrast": {},
    "ElasticTransform": {},
    "Exposure": {},
    "Gamma": {},
    "Saturation": {},
}
