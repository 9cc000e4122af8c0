"""Classification during restoring: the ablation of DCPT, and its guided transfer to another task."""

from __future__ import annotations

from torch import Tensor

from uir.models.classifying_model import ClassifyingModel
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class DCTModel(ClassifyingModel):
    """Training with both aims at once: restore the degraded image, and classify its degradation in the same pass.

    loss = pixel_opt(network_g(lq), gt) + classify_opt(network_dc(features of the same forward), label). It differs from
    DCPT only in the image that is restored (Hu et al., ICLR 2025, Table 12).
    """

    def compute_losses(self) -> dict[str, Tensor]:
        """The losses of the batch."""
        restored, features = self.net_g(self.lq)
        return {
            "l_pix": self.pixel_loss(restored),
            "l_classify": self.classification_loss(self.lq, features),
        }
