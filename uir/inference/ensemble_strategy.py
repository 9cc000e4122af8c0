"""Self-ensemble: the mean over restored flips and quarter turns of the image (Timofte et al., CVPR 2016)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from uir.inference.controls import Control
from uir.inference.strategies import Run, Strategy
from uir.layers.turns import TURNS, turned, turned_back
from uir.registry import STRATEGIES

if TYPE_CHECKING:
    from uir.inference.predictor import Place


@STRATEGIES.register()
class SelfEnsemble(Strategy):
    """Restores each part several times, flipped and turned, and gives the mean (Timofte et al., CVPR 2016, section 3).

    It works part by part, so that it needs no more memory with tiles than one run.
    """

    order: ClassVar[int] = 0
    controls: ClassVar[tuple[Control, ...]] = (
        Control("ensemble", "int", "Mean over this many of the 8 flips and quarter turns.", 1, low=1, high=TURNS),
    )

    def run(self, run: Run, lq: Tensor, place: Place) -> Tensor:
        """The mean of the restored turns of a part."""
        count: int = self.values["ensemble"]
        total = run(lq, place).float()
        for turn in range(1, count):
            restored = run(turned(lq, turn).contiguous(), replace(place, turn=turn))
            total = total + turned_back(restored, turn).float()
        return total / count
