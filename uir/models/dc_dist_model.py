"""Transfer of a restorer to another task, guided by a classifier that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from uir.config.roles import Role
from uir.models.classifying_model import CLASSIFIER, logger
from uir.models.dct_model import DCTModel
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class DCDistModel(DCTModel):
    """DCT's losses with a frozen `network_dc`, trained before (DCPT's transfer learning; Hu et al., ICLR 2025).

    The published arrangement reads the last block of each decoder level, whose output is that of the level: the feature
    points of `network_g`. `train.taps` names fewer of them.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "g": Role(averaged=True),
        "dc": replace(CLASSIFIER, required_in=frozenset({"train"}), trained=False, averaged=False),
    }

    def start_training(self) -> None:
        """As every method; a classifier without weights is worth a warning."""
        super().start_training()
        if getattr(self.path, "pretrain_network_dc", None) is None:
            logger.warning("path.pretrain_network_dc is missing: the classifier that guides network_g is untrained")
