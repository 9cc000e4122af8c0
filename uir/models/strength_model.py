"""Training of a restorer whose strength can be set, by the severity of what was done to each image."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from uir.degradations.record_vectoriser import Severity
from uir.inference.code_predictor import families
from uir.inference.predictor import Predictor
from uir.inference.strength_predictor import StrengthPredictor
from uir.models.base_model import offers
from uir.models.sr_model import SRModel
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class StrengthModel(SRModel):
    """A restorer `network_g(lq, strength)`, such as a GainNet of any backbone, that learns strengths by severity.

    The strength of an image is the largest severity in its record, from 0 (clean) to 1 (the strongest in the
    literature); 1 for an image whose history is unknown. For restoring it is a control.
    """

    predictor_type: ClassVar[type[Predictor]] = StrengthPredictor

    @offers("strength")
    def strength(self) -> Tensor:
        """The severity of each image, [B]."""
        records = self.batch.get("degradation")
        if records is None:
            return self.lq.new_ones(len(self.lq))
        targets = Severity(families())(records)
        worst = targets.values.amax(1).where(targets.mask.all(1), targets.values.new_ones(()))
        return worst.clamp(0, 1).to(self.lq)
