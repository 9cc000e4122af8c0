"""A restorer that also returns its features in the order for a classifier; training methods wrap and run it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from uir.layers.features import FeatureTap


class TappedRestorer(nn.Module):
    """Gives `(restored, features)` of a batch, features from fine to coarse.

    Args:
        net: a network that declares `feature_points()`.
        names: the points to use, as module paths; None for all.

    Attributes:
        net: the network.
        points: the sources of the features, in their order.

    Raises:
        ValueError: the network declares no feature points, or lacks one of these.
    """

    def __init__(self, net: nn.Module, names: Sequence[str] | None = None) -> None:
        super().__init__()
        self.tap = FeatureTap(net)
        declared = [point.name for point in self.tap.points]
        unknown = [name for name in names or () if name not in declared]
        if unknown or (names is not None and not names):
            raise ValueError(
                f"taps: {type(net).__name__} has no feature point {unknown or names}; it has {', '.join(declared)}"
            )
        chosen = [index for index, name in enumerate(declared) if names is None or name in names]
        self._chosen = chosen[::-1]  # networks decode from coarse to fine
        self.points = [self.tap.points[index] for index in self._chosen]

    @property
    def net(self) -> nn.Module:
        """The network itself."""
        return self.tap.net

    def forward(self, lq: Tensor) -> tuple[Tensor | None, list[Tensor]]:
        """Restore `lq` [B, 3, H, W], and return its features too."""
        return self.run(lq)

    def run(self, lq: Tensor, stop: bool = False) -> tuple[Tensor | None, list[Tensor]]:
        """Run the network.

        Args:
            lq: [B, 3, H, W].
            stop: skip everything after the last feature; `restored` is then None.
        """
        restored, features = self.tap(lq, stop_at_last=stop)
        return restored, [features[index] for index in self._chosen]
