"""The contract of a degradation: draw the parameters first, then apply them; a call is a drawn record replayed."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from uir.core.seeds import derive_seed
from uir.degradations.record import DegradationRecord, Step, marked_label
from uir.registry import DEGRADATION_REGISTRY, UnknownNameError

Params = dict[str, Any]
Size = tuple[int, int]  # (height, width) in pixels


@dataclass(frozen=True)
class DrawContext:
    """What a draw may know beyond its own seed and the size of the image in front of it.

    Attributes:
        input_size: of the image that entered the whole pipeline.
        batch_seed: what all images of a batch draw their sizes from, so that they stay of one size; None outside one.
    """

    input_size: Size
    batch_seed: int | None = None

    def below(self, *path: int | str) -> DrawContext:
        """The context of a child, whose batch seed is keyed by the path to it."""
        return self if self.batch_seed is None else replace(self, batch_seed=derive_seed(self.batch_seed, *path))


class Degradation(ABC):
    """Base of every op and pipeline.

    An op writes `sample` and `apply`, is registered in DEGRADATION_REGISTRY under its own name, and needs nothing else
    to be used (plus `output_size` and `changes_size` if it changes the size). `apply` sees the parameters alone, never
    the configuration, so that a record can be replayed anywhere. To be measured and pictured, it says what `family` it
    is of, how severe parameters are, and what arguments make a mild, a medium and a severe example.
    """

    family: ClassVar[str] = ""
    """What kind of harm it does: blur, noise, haze, ..."""
    severities: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Constructor arguments of a mild, a medium and a severe example."""
    draws_on_device: ClassVar[bool] = False
    """Whether its field may be drawn on the image's device; the record of such a field says `drawn_on`."""
    changes_size: bool = False
    """Whether the result may be of another size; such draws are shared by the images of a batch."""

    @abstractmethod
    def sample(self, seed: int, size: Size) -> Params:
        """Draw the parameters for one image of `size`.

        Scalars come from generators keyed by `seed` (`uir.degradations.values`); an op that draws a field puts `"seed"`
        in. All values are plain JSON types, the unit is part of the key.
        """

    @staticmethod
    @abstractmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """Degrade [C, H, W], or a batch [B, C, H, W] with the same parameters and the same field for each image.

        Any device and floating type, kept in the result; RGB in [0, 1]. The input is not changed.
        """

    @staticmethod
    def output_size(params: Mapping[str, Any], size: Size) -> Size:
        """The size of the result for an image of `size`; the same unless the op says otherwise."""
        return size

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """How severe recorded parameters are: 0 none, 1 the strongest of the literature; the same scale for every user.

        Raises:
            ValueError: the op has no such scale.
        """
        raise ValueError(f"{params.get('op', 'the op')} declares no severity; give its class a static `severity`")

    @classmethod
    def apply_each(cls, images: Tensor, params: Sequence[Mapping[str, Any]]) -> Tensor:
        """Degrade a batch [B, C, H, W], each image with its own parameters; one by one unless the op knows better."""
        return torch.stack([cls.apply(image, own) for image, own in zip(images, params, strict=True)])

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The steps that would be applied to an image of `size`: one for an op, any number for a pipeline."""
        return [{"op": registered_name(type(self)), **self.sample(self.shared_seed(seed, context), size)}]

    def shared_seed(self, seed: int, context: DrawContext | None) -> int:
        """The batch's seed where the size of the result hangs on the draw and there is a batch, else `seed`."""
        shared = self.changes_size and context is not None and context.batch_seed is not None
        return context.batch_seed if shared else seed  # type: ignore[union-attr,return-value]

    def __call__(self, image: Tensor, seed: int, label: str | None = None) -> tuple[Tensor, DegradationRecord]:
        """Degrade [C, H, W] or [B, C, H, W] and tell what was done.

        The same seed and size give the same record, and with the same image the same bits on the CPU.

        Raises:
            ValueError: not a floating-point image of one of these shapes.
        """
        check_image(image, type(self).__name__)
        seed = operator.index(seed)  # a numpy integer would be another key than the same Python int
        height, width = image.shape[-2:]
        record = self.record(seed, (height, width), label)
        return replay(record, image), record

    def record(
        self, seed: int, size: Size, label: str | None = None, context: DrawContext | None = None
    ) -> DegradationRecord:
        """What would be done to an image of `size`; without a `label`, the one that the pipeline marked is taken."""
        steps = tuple(self.draw(seed, size, context or DrawContext(size)))
        return DegradationRecord(steps, seed, label if label is not None else marked_label(steps))


def replay(record: DegradationRecord, image: Tensor) -> Tensor:
    """Do to `image` what `record` says; on the original image this gives the original result bit for bit.

    Raises:
        ValueError: the history is unknown, or a step lacks a parameter.
        UnknownNameError: no op of that name is registered.
    """
    if record.steps is None:
        raise ValueError("replay: the record's steps are unknown (a real pair); there is nothing to replay")
    return apply_steps(image, record.steps)


def apply_steps(image: Tensor, steps: Iterable[Mapping[str, Any]]) -> Tensor:
    """Apply recorded steps in order; a new tensor even where there are none. Half precision comes at the end."""
    check_image(image, "apply_steps")
    result = clear = working(image)
    for step in steps:
        op = DEGRADATION_REGISTRY.get(step["op"])
        try:
            result = op.apply(result, step)
        except UnknownNameError:
            raise
        except KeyError as error:
            raise ValueError(
                f"{step['op']}: the recorded step lacks the parameter {error}; it holds {sorted(step)}"
            ) from error
    return image.clone() if result is clear else result.to(image.dtype)


def step_output_size(step: Mapping[str, Any], size: Size) -> Size:
    """The size that follows a recorded step."""
    following: Size = DEGRADATION_REGISTRY.get(step["op"]).output_size(step, size)
    return following


def registered_name(cls: type) -> str:
    """The name under which the registry gives `cls` back, with its origin where the plain name is another class.

    Raises:
        ValueError: the class is not registered, so that its record could not be replayed.
    """
    for name in (cls.__name__, f"uir:{cls.__name__}", *DEGRADATION_REGISTRY.keys()):
        if name in DEGRADATION_REGISTRY and DEGRADATION_REGISTRY.get(name) is cls:
            return name
    raise ValueError(
        f"degradation {cls.__name__} ({cls.__module__}) is not registered, so what it does could not be replayed; "
        "write @DEGRADATION_REGISTRY.register() above the class"
    )


def check_image(image: Tensor, op: str) -> None:
    """Refuse what is not a floating-point [C, H, W] or [B, C, H, W].

    Raises:
        ValueError: with what came and what was expected.
    """
    if not isinstance(image, Tensor):
        raise ValueError(f"{op}: expected a torch tensor [C, H, W] or [B, C, H, W], got {type(image).__name__}")
    if image.ndim not in (3, 4) or 0 in image.shape:
        raise ValueError(f"{op}: expected a non-empty image [C, H, W] or [B, C, H, W], got shape {list(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(
            f"{op}: expected a floating-point image in [0, 1], got {image.dtype}; divide 8-bit values by 255"
        )


def working(image: Tensor) -> Tensor:
    """The image in the precision that ops compute in: float64 stays, everything else is float32."""
    return image if image.dtype == torch.float64 else image.float()
