"""Reads the inner features of a backbone, in the same way for a plain, a DDP-wrapped and a compiled one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from uir.layers.tokens import tokens_to_map


@dataclass(frozen=True)
class FeaturePoint:
    """A position in a network whose output can be read.

    Attributes:
        name: module path, as in `named_modules()`.
        channels: C of its output.
        stride: pixels of the padded input per pixel of the output.
        layout: `nchw` is [B, C, H/stride, W/stride], `tokens` is [B, H/stride · W/stride, C].
    """

    name: str
    channels: int
    stride: int
    layout: Literal["nchw", "tokens"] = "nchw"


def feature_maps(who: str, points: Sequence[FeaturePoint], features: Sequence[Tensor], image: Tensor) -> list[Tensor]:
    """The features of a backbone as maps [B, C, h, w], tokens included.

    Args:
        who: the class that reads them, for messages.
        points: the backbone's feature points.
        features: what it gave at these points, in their order.
        image: [B, 3, H, W], the backbone's input; only its shape is used, to arrange tokens.

    Raises:
        ValueError: the features are not those of the feature points.
    """
    if len(features) != len(points):
        raise ValueError(f"{who}: expected {len(points)} features, got {len(features)}")
    maps = [
        tokens_to_map(feature, image) if point.layout == "tokens" else feature
        for point, feature in zip(points, features, strict=True)
    ]
    for point, feature in zip(points, maps, strict=True):
        if feature.ndim != 4 or feature.shape[1] != point.channels:
            raise ValueError(
                f"{who}: '{point.name}' should give {point.channels} channels, its feature is {list(feature.shape)}; "
                "features go in the order of feature_points"
            )
    return maps


class FeatureTap(nn.Module):
    """A network that also returns its features: `tap(lq) -> (restored, features)`, in the order of `feature_points()`.

    Create it first and wrap it afterwards, in DDP or `torch.compile`: a hook added after compiling never runs. The
    plain network is `tap.net`, whose keys have no prefix; checkpoints contain these keys.

    Args:
        net: a network that declares `feature_points()`.
        stop_at_last: skip everything after the last point that runs; `restored` is then None. The skipped parameters
            get no gradient: DDP needs `find_unused_parameters=True` unless the step uses them elsewhere.

    Raises:
        ValueError: the network declares no feature points, or one that it does not have.
    """

    def __init__(self, net: nn.Module, stop_at_last: bool = False) -> None:
        super().__init__()
        self.points = points_of(net)
        self.net = net
        self.stop_at_last = stop_at_last
        self._catch = _Catch(len(self.points))
        for index, point in enumerate(self.points):
            # A net with two taps keeps both hooks: each stores into its own object, and only while its tap runs.
            net.get_submodule(point.name).register_forward_hook(_Hook(self._catch, index, point.name))

    def forward(self, lq: Tensor, *args: Any, stop_at_last: bool | None = None) -> tuple[Tensor | None, list[Tensor]]:
        """Run the network.

        Args:
            lq: the batch; further arguments (a degradation code) are passed on.
            stop_at_last: overrides the constructor's for this call.

        Returns:
            The network's output (None if it was stopped), and the features.
        """
        stop = self.stop_at_last if stop_at_last is None else stop_at_last
        restored: Tensor | None = None
        with self._catch.open(stop):
            try:
                restored = self.net(lq, *args)
            except _LastPointReachedError:
                restored = None
            features = self._catch.take(self.points)
        return restored, features


def points_of(net: nn.Module) -> list[FeaturePoint]:
    """The feature points that a network declares.

    Raises:
        ValueError: it declares none, or one that is not a module of the network.
    """
    name = type(net).__name__
    declared = getattr(net, "feature_points", None)
    points = list(declared()) if callable(declared) else []
    if not points:
        raise ValueError(
            f"{name} cannot be tapped: it declares no feature points; give it a method feature_points() that returns "
            "[FeaturePoint(module path, channels, stride), ...]"
        )
    modules = dict(net.named_modules())
    for point in points:
        if point.name not in modules:
            raise ValueError(f"{name}.feature_points(): there is no module '{point.name}' in the network")
    return points


class _LastPointReachedError(Exception):
    """Leaves a network's forward pass early."""


@dataclass
class _Catch:
    """The outputs that the hooks of one tap have stored in the current forward pass.

    The hooks refer to this plain object and not to the tap, so that a tap can be copied, pickled and compiled.
    """

    size: int
    is_open: bool = False
    stop_when_full: bool = False
    features: dict[int, Tensor] = field(default_factory=dict)

    @contextmanager
    def open(self, stop_when_full: bool) -> Iterator[None]:
        self.is_open, self.stop_when_full = True, stop_when_full
        try:
            yield
        finally:
            self.is_open = False
            self.features = {}  # so that no activations stay in memory between steps

    def take(self, points: list[FeaturePoint]) -> list[Tensor]:
        missed = [point.name for index, point in enumerate(points) if index not in self.features]
        if missed:
            raise RuntimeError(f"FeatureTap: the forward did not run the module(s) {', '.join(missed)}")
        return [self.features[index] for index in range(self.size)]


@dataclass(frozen=True)
class _Hook:
    """Forward hook of one feature point."""

    catch: _Catch
    index: int
    name: str

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self.catch.is_open:
            return
        if not isinstance(output, Tensor):
            raise TypeError(f"FeatureTap: '{self.name}' returned {type(output).__name__}, expected one tensor")
        self.catch.features[self.index] = output
        if self.catch.stop_when_full and len(self.catch.features) == self.catch.size:
            raise _LastPointReachedError
