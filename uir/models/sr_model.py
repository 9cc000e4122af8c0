"""Restoring by direct regression: the network's output is compared with the clean image."""

from __future__ import annotations

from typing import ClassVar

from uir.models.base_model import BaseModel
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class SRModel(BaseModel):
    """Any restorer trained with pixel, perceptual or other named losses; any scale, 1 included.

    Every key `<name>_opt` under `train` is a loss `(restored, gt) -> scalar`, or a pair of scalars (content, style) of
    which one may be None; their weighted sum is minimised. The same YAML gives the same losses as with basicsr's class
    of this name.
    """

    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "perceptual_opt")
    open_losses: ClassVar[bool] = True
