"""Restoring by direct regression: the network's output is compared with the clean image."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from uir.models.base_model import BaseModel
from uir.registry import MODEL_REGISTRY

# BasicSR's names in its logs; any other loss `<name>_opt` is logged as `l_<name>`.
_LOG_NAMES = {"pixel": "pix", "perceptual": "percep"}


@MODEL_REGISTRY.register()
class SRModel(BaseModel):
    """Any restorer trained with pixel, perceptual or other named losses; any scale, 1 included.

    Every key `<name>_opt` under `train` is a loss `(restored, gt) -> scalar`, or a pair of scalars (content, style) of
    which one may be None; their weighted sum is minimised. The same YAML gives the same losses as with basicsr's class
    of this name.
    """

    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "perceptual_opt")
    open_losses: ClassVar[bool] = True

    def compute_losses(self) -> dict[str, Tensor]:
        """The losses of the restored batch."""
        if self.gt is None:
            raise ValueError("training needs `gt`, and the dataset gives none; use a paired or a degraded dataset")
        restored = self.net_g(self.lq).float()
        if restored.shape != self.gt.shape:
            raise ValueError(
                f"network_g made {tuple(restored.shape)} of {tuple(self.lq.shape)}, gt is {tuple(self.gt.shape)}; "
                f"does `scale` ({self.scale}) fit the network?"
            )
        found: dict[str, Tensor] = {}
        for slot, loss in self.losses.items():
            name = slot.removesuffix("_opt")
            value = loss(restored, self.gt)
            if isinstance(value, tuple):
                content, style = value
                if content is not None:
                    found[f"l_{_LOG_NAMES.get(name, name)}"] = content
                if style is not None:
                    found["l_style"] = style
            else:
                found[f"l_{_LOG_NAMES.get(name, name)}"] = value
        if not found:
            raise ValueError("train: no loss is given; add pixel_opt, perceptual_opt or any <name>_opt")
        return found
