"""Pipelines: degradations made of degradations. What they record is the flat list of the ops really applied.

Every child draws from a seed of its own, keyed by the path to it, so that editing one step leaves the others' draws
alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from uir.components import DegradationSpec, build
from uir.degradations.base import Degradation, Params, Size, apply_steps, check_image, step_output_size
from uir.degradations.record import Step
from uir.degradations.values import check_probability, coin
from uir.registry import DEGRADATION_REGISTRY, UnknownNameError
from uir.seeds import derive_seed, numpy_generator


class Pipeline(Degradation):
    """Base of the pipelines: they say in `draw` which steps there are; sampling and applying follow from it."""

    @abstractmethod
    def draw(self, seed: int, size: Size) -> list[Step]:
        """The steps that would be applied to an image of `size`, in order; none is a possible answer."""

    def sample(self, seed: int, size: Size) -> Params:
        """`steps`: what `draw` gives."""
        return {"steps": self.draw(seed, size)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """Apply the drawn steps in order."""
        check_image(image, "Pipeline")
        return apply_steps(image, params["steps"])

    @staticmethod
    def output_size(params: Mapping[str, Any], size: Size) -> Size:
        """The size behind the last step."""
        for step in params["steps"]:
            size = step_output_size(step, size)
        return size


@DEGRADATION_REGISTRY.register()
class Sequence(Pipeline):
    """Every step in order.

    Args:
        steps: `{type: ..., ...}` mappings, or degradations already built.
    """

    def __init__(self, steps: list[DegradationSpec]) -> None:
        self.steps = _children("Sequence", steps)

    def draw(self, seed: int, size: Size) -> list[Step]:
        """The steps of all children; each is told the size that the ones before it leave."""
        drawn: list[Step] = []
        for index, child in enumerate(self.steps):
            steps = child.draw(derive_seed(seed, "steps", index), size)
            size = self.output_size({"steps": steps}, size)
            drawn += steps
        return drawn


@DEGRADATION_REGISTRY.register()
class OneOf(Pipeline):
    """One of the steps, at random.

    Args:
        steps: `{type: ..., ...}` mappings, or degradations already built.
        weights: how likely each is; any non-negative numbers, divided by their sum. Default: all alike.
    """

    def __init__(self, steps: list[DegradationSpec], weights: list[float] | None = None) -> None:
        self.steps = _children("OneOf", steps)
        given = [1.0] * len(self.steps) if weights is None else weights
        if not isinstance(given, (list, tuple)) or len(given) != len(self.steps):
            raise ValueError(
                f"OneOf.weights: expected a list of {len(self.steps)} numbers, one for each step, got {weights!r}"
            )
        for weight in given:
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
                raise ValueError(f"OneOf.weights: expected numbers of at least 0, got {weight!r}")
        if sum(given) <= 0:
            raise ValueError(f"OneOf.weights: at least one must be above 0, got {weights!r}")
        self.weights = [weight / sum(given) for weight in given]

    def draw(self, seed: int, size: Size) -> list[Step]:
        """The steps of the child that was picked."""
        picked = int(numpy_generator(seed, "weights").choice(len(self.steps), p=self.weights))
        return self.steps[picked].draw(derive_seed(seed, "steps", picked), size)


@DEGRADATION_REGISTRY.register()
class Maybe(Pipeline):
    """A step with probability `p`, else nothing.

    Args:
        step: a `{type: ..., ...}` mapping, or a degradation already built.
        p: in [0, 1].
    """

    def __init__(self, step: DegradationSpec, p: float = 0.5) -> None:
        self.step = _child("Maybe.step", step)
        self.p = check_probability("Maybe.p", p)

    def draw(self, seed: int, size: Size) -> list[Step]:
        """The steps of the child, or none."""
        return self.step.draw(derive_seed(seed, "step"), size) if coin(seed, "p", self.p) else []


def _children(owner: str, steps: Any) -> list[Degradation]:
    if not isinstance(steps, (list, tuple)) or not steps:
        raise ValueError(f"{owner}.steps: expected a list of at least one {{type: ...}} mapping, got {steps!r}")
    return [_child(f"{owner}.steps[{index}]", step) for index, step in enumerate(steps)]


def _child(where: str, step: Any) -> Degradation:
    if isinstance(step, Degradation):
        return step
    if not isinstance(step, Mapping):
        raise ValueError(f"{where}: expected a {{type: ...}} mapping or a degradation, got {step!r}")
    try:
        built = build(DEGRADATION_REGISTRY, step)
    except (ValueError, UnknownNameError) as error:
        raise ValueError(f"{where}: {error}") from error
    if not isinstance(built, Degradation):
        raise ValueError(
            f"{where}: {step['type']} is a {type(built).__name__}, which does not extend uir's Degradation"
        )
    return built
