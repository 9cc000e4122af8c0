"""Multi-scale structural similarity as a loss (Wang, Simoncelli and Bovik, 2003)."""

from __future__ import annotations

from torch import Tensor, nn

from uir.compat import prepare
from uir.losses.reduction import matched
from uir.registry import LOSS_REGISTRY

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales


@LOSS_REGISTRY.register()
class MSSSIMLoss(nn.Module):
    """1 − multi-scale structural similarity, each scale brought from [-1, 1] to [0, 1]; by torchmetrics.

    Args:
        loss_weight: factor on the result.
        scales: 1 to 5; an image needs more than 10 pixels at the coarsest, 11·2^(scales−1) in all.

    Raises:
        ImportError: torchmetrics is not installed.
        ValueError: `scales` is out of range.
    """

    def __init__(self, loss_weight: float = 1.0, scales: int = 5) -> None:
        super().__init__()
        if not 1 <= scales <= len(_WEIGHTS):
            raise ValueError(f"MSSSIMLoss.scales: expected 1 to {len(_WEIGHTS)}, got {scales}")
        prepare()
        try:
            from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
        except ImportError as error:
            raise ImportError("MSSSIMLoss needs torchmetrics: pip install 'uir[metrics]'") from error
        self.loss_weight, self._weights = loss_weight, _WEIGHTS[:scales]
        self._compute = multiscale_structural_similarity_index_measure

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of a pair [B, C, H, W]; 0 if they are equal.

        Raises:
            ValueError: the shapes differ, or the images are too small.
        """
        prediction, target = matched(prediction, target)
        least = 11 * 2 ** (len(self._weights) - 1)
        if min(prediction.shape[-2:]) < least:
            raise ValueError(
                f"MSSSIMLoss: {len(self._weights)} scales need images of at least {least} pixels, got "
                f"{list(prediction.shape[-2:])}; use fewer scales"
            )
        similarity: Tensor = self._compute(prediction, target, data_range=1.0, betas=self._weights, normalize="simple")
        return self.loss_weight * (1 - similarity)
