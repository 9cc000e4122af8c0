"""Classification during restoring: the ablation of DCPT, and its guided transfer to another task."""

from __future__ import annotations

from uir.models.classifying_model import ClassifyingModel, ClassifyingStep
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class DCTModel(ClassifyingModel):
    """Training with both aims at once: restore the degraded image, and classify its degradation in the same pass.

    loss = pixel_opt(network_g(lq), gt) + classify_opt(network_dc(features of the same forward), label). It differs from
    DCPT only in the image that is restored (Hu et al., ICLR 2025, Table 12).
    """

    def run_step(self) -> ClassifyingStep:
        """Restore `lq`, and read its features on the way."""
        restored, features = self.net_g(self.lq)
        return ClassifyingStep(restored, features, self.lq)
