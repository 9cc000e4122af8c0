"""Training by direct regression: losses compare the network's output with the clean image."""

from __future__ import annotations

from typing import ClassVar

from uir.models.base_model import BaseModel
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class SRModel(BaseModel):
    """Trains any restorer with pixel, perceptual or other named losses; any scale, also 1.

    Every key `<name>_opt` under `train` is a loss `(restored, gt) -> scalar`; it may also give a pair of scalars
    (content, style), and one of them may be None. Their weighted sum is minimised. The same YAML gives the same losses
    as with basicsr's class of this name.
    """

    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "perceptual_opt")
    open_losses: ClassVar[bool] = True
