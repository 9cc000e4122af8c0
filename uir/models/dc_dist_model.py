"""Transfer of a restorer to another task, guided by a classifier that is not trained."""

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
    """DCT's losses with a frozen, trained `network_dc` (DCPT's transfer learning; Hu et al., ICLR 2025).

    The published code reads the last block of each decoder level. Its output is the output of the level, which is a
    feature point of `network_g`. `train.taps` can name fewer of them.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "g": Role(averaged=True),
        "dc": replace(CLASSIFIER, required_in=frozenset({"train"}), trained=False, averaged=False),
    }

    def start_training(self) -> None:
        """Start like every method, and warn if the classifier has no weights."""
        super().start_training()
        if getattr(self.path, "pretrain_network_dc", None) is None:
            logger.warning("path.pretrain_network_dc is missing: the classifier that guides network_g is not trained")
