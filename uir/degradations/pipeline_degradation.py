"""Pipelines: degradations made of degradations. Their record is the flat list of the ops that were really applied.

Every child draws from its own seed, keyed by the path to it, so that a change of one step does not change the others'
random values. Within a batch, everything that decides the size (an op that changes it, or a choice between such ops) is
drawn once for all images; everything else is drawn for each image.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from uir.core.seeds import derive_seed, numpy_generator
from uir.degradations.base import (
    Degradation,
    DrawContext,
    Params,
    Size,
    apply_steps,
    check_image,
    step_output_size,
)
from uir.degradations.record import MARK, Step
from uir.degradations.values import Numbers, Values, check_probability, coin
from uir.registry import DEGRADATION_REGISTRY, UnknownNameError
from uir.registry.components import DegradationSpec, build


class Pipeline(Degradation):
    """Base of the pipelines: `draw` defines the steps; sampling and applying follow from it.

    Args:
        children: the degradations that it can use.
    """

    def __init__(self, children: Iterable[Degradation]) -> None:
        self.changes_size = any(child.changes_size for child in children)

    @abstractmethod
    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The steps for an image of `size`, in order; the list may be empty."""

    def sample(self, seed: int, size: Size) -> Params:
        """`steps`: the result of `draw`."""
        return {"steps": self.draw(seed, size)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """Apply the drawn steps in order."""
        check_image(image, "Pipeline")
        return apply_steps(image, params["steps"])

    @staticmethod
    def output_size(params: Mapping[str, Any], size: Size) -> Size:
        """The size after the last step."""
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
        self.steps = children_of("Sequence", steps)
        super().__init__(self.steps)

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The steps of all children; each gets the size after the steps before it."""
        return draw_in_order(range(len(self.steps)), self.steps, seed, size, context)


@DEGRADATION_REGISTRY.register()
class Shuffle(Pipeline):
    """Every step, in a random order (BSRGAN's shuffle strategy, Zhang et al., ICCV 2021, section 3.5).

    Args:
        steps: `{type: ..., ...}` mappings, or degradations already built.
        p: probability of shuffling; otherwise the order is that of the list.
        keep_order: indices of steps that must stay in this order (BSRGAN: the last down-sampling comes after the
            first); the shuffled positions stay, and the steps in them are sorted.
    """

    def __init__(self, steps: list[DegradationSpec], p: float = 1.0, keep_order: list[int] | None = None) -> None:
        self.steps = children_of("Shuffle", steps)
        self.p = check_probability("Shuffle.p", p)
        self.keep_order = list(keep_order or [])
        for index in self.keep_order:
            if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(self.steps):
                raise ValueError(
                    f"Shuffle.keep_order: expected indices of steps, 0 to {len(self.steps) - 1}, got {index!r}"
                )
        super().__init__(self.steps)

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The steps of all children in the drawn order; a child's random values do not depend on its position."""
        shared = self.shared_seed(seed, context)
        order = list(range(len(self.steps)))
        if coin(shared, "p", self.p):
            order = numpy_generator(shared, "order").permutation(len(order)).tolist()
            places = sorted(order.index(index) for index in self.keep_order)
            for place, index in zip(places, self.keep_order, strict=True):
                order[place] = index
        return draw_in_order(order, self.steps, seed, size, context)


@DEGRADATION_REGISTRY.register()
class OneOf(Pipeline):
    """One of the steps, at random.

    Args:
        steps: `{type: ..., ...}` mappings, or degradations already built.
        weights: weight of each step; any non-negative numbers, divided by their sum. Default: equal weights.
    """

    def __init__(self, steps: list[DegradationSpec], weights: list[float] | None = None) -> None:
        self.steps = children_of("OneOf", steps)
        self.weights = normalised_weights("OneOf.weights", weights, len(self.steps))
        super().__init__(self.steps)

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The steps of the child that was picked."""
        picked = pick(self.shared_seed(seed, context), self.weights)
        return draw_child(self.steps[picked], seed, size, context, "steps", picked)


@DEGRADATION_REGISTRY.register()
class Maybe(Pipeline):
    """A step with probability `p`, else nothing.

    Args:
        step: a `{type: ..., ...}` mapping, or a degradation already built.
        p: in [0, 1].
        note_skipped: if the step is skipped, note in the record what it would have been.
    """

    def __init__(self, step: DegradationSpec, p: float = 0.5, note_skipped: bool = False) -> None:
        self.step = child_of("Maybe.step", step)
        self.p = check_probability("Maybe.p", p)
        self.note_skipped = note_skipped
        super().__init__([self.step])

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The steps of the child, or none, or a mark that contains them."""
        is_applied = coin(self.shared_seed(seed, context), "p", self.p)
        if not is_applied and not self.note_skipped:
            return []
        steps = draw_child(self.step, seed, size, context, "step")
        return steps if is_applied else [{"op": MARK, "skipped": steps}]


@DEGRADATION_REGISTRY.register()
class Repeat(Pipeline):
    """Repeats a step, with new random values each time.

    Args:
        step: a `{type: ..., ...}` mapping, or a degradation already built.
        times: number of repetitions; a whole number, [low, high] or {choice: [...]}.
    """

    def __init__(self, step: DegradationSpec, times: Numbers = 2) -> None:
        self.step = child_of("Repeat.step", step)
        self.times = Values.of("Repeat.times", times, 0, 100, integer=True)
        super().__init__([self.step])

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The steps of every round."""
        times = int(self.times.draw(self.shared_seed(seed, context)))
        return draw_in_order(range(times), [self.step] * times, seed, size, context)


def draw_child(child: Degradation, seed: int, size: Size, context: DrawContext | None, *path: int | str) -> list[Step]:
    """The draw of a child, from seeds keyed by the path to it."""
    return child.draw(derive_seed(seed, *path), size, (context or DrawContext(size)).below(*path))


def draw_in_order(
    order: Iterable[int], steps: list[Degradation], seed: int, size: Size, context: DrawContext | None
) -> list[Step]:
    """The draws of the children, one after the other; each gets the size after the steps before it."""
    context = context or DrawContext(size)
    all_steps: list[Step] = []
    for index in order:
        own = draw_child(steps[index], seed, size, context, "steps", index)
        size = Pipeline.output_size({"steps": own}, size)
        all_steps += own
    return all_steps


def pick(seed: int, weights: list[float]) -> int:
    """An index drawn with these probabilities."""
    return int(numpy_generator(seed, "weights").choice(len(weights), p=weights))


def normalised_weights(where: str, weights: Any, count: int) -> list[float]:
    """Probabilities that sum to 1.

    Raises:
        ValueError: not `count` numbers of at least 0, or all of them 0.
    """
    numbers = [1.0] * count if weights is None else weights
    if not isinstance(numbers, (list, tuple)) or len(numbers) != count:
        raise ValueError(f"{where}: expected a list of {count} numbers, one for each step, got {weights!r}")
    for weight in numbers:
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
            raise ValueError(f"{where}: expected numbers of at least 0, got {weight!r}")
    if sum(numbers) <= 0:
        raise ValueError(f"{where}: at least one must be above 0, got {weights!r}")
    return [weight / sum(numbers) for weight in numbers]


def children_of(owner: str, steps: Any) -> list[Degradation]:
    """The degradations that a list of mappings describes.

    Raises:
        ValueError: not a list of at least one, or one of them cannot be built; the message gives its place.
    """
    if not isinstance(steps, (list, tuple)) or not steps:
        raise ValueError(f"{owner}.steps: expected a list of at least one {{type: ...}} mapping, got {steps!r}")
    return [child_of(f"{owner}.steps[{index}]", step) for index, step in enumerate(steps)]


def child_of(where: str, step: Any) -> Degradation:
    """The degradation that a mapping describes, or the one that is already built.

    Raises:
        ValueError: it is neither, or cannot be built.
    """
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
