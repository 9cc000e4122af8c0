"""Base of the presets: published recipes with their own names, made of registered ops."""

from __future__ import annotations

from typing import Any

from uir.degradations.base import DrawContext, Size
from uir.degradations.pipeline_degradation import Pipeline, child_of
from uir.degradations.record import Step

Spec = dict[str, Any]


class Preset(Pipeline):
    """A recipe by name. It draws the same as its `spec` in a YAML file with the same seed.

    Attributes:
        spec: the recipe, `{type: ..., ...}`.
        scale: size of an image divided by size of its result.
    """

    def __init__(self, spec: Spec, scale: int = 1) -> None:
        self.spec = spec
        self.scale = scale
        self.step = child_of(type(self).__name__, spec)
        super().__init__([self.step])

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The steps of the recipe."""
        return self.step.draw(seed, size, context)


def sequence(*steps: Spec) -> Spec:
    """Every step in order."""
    return {"type": "Sequence", "steps": list(steps)}


def one_of(*choices: tuple[float, Spec]) -> Spec:
    """One of several `(weight, step)`."""
    return {"type": "OneOf", "weights": [weight for weight, _ in choices], "steps": [step for _, step in choices]}


def maybe(p: float, step: Spec) -> Spec:
    """A step with probability `p`."""
    return {"type": "Maybe", "p": p, "step": step}


def shuffle(*steps: Spec, **arguments: Any) -> Spec:
    """Every step in a random order."""
    return {"type": "Shuffle", "steps": list(steps), **arguments}


def stage(name: str, step: Spec) -> Spec:
    """A step whose records say which stage of the recipe it is."""
    return {"type": "Stage", "name": name, "step": step}


def check_scale(owner: str, scale: Any, *known: int) -> int:
    """Check a scale and return it.

    Raises:
        ValueError: the recipe does not have this scale.
    """
    if isinstance(scale, bool) or scale not in known:
        raise ValueError(f"{owner}.scale: there is no scale {scale!r}; expected one of {', '.join(map(str, known))}")
    return int(scale)
