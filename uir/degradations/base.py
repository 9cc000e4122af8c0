"""The interface of a degradation: first draw random parameters, then apply them. A call draws and replays a record."""

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
    """Information for a draw beyond its own seed and the size of the current image.

    Attributes:
        input_size: size of the image that entered the whole pipeline.
        batch_seed: seed for sizes, shared by all images of a batch so that they keep one size; None without a batch.
    """

    input_size: Size
    batch_seed: int | None = None

    def below(self, *path: int | str) -> DrawContext:
        """The context of a child; its batch seed is keyed by the path to the child."""
        return self if self.batch_seed is None else replace(self, batch_seed=derive_seed(self.batch_seed, *path))


class Degradation(ABC):
    """Base of every op and pipeline.

    An op defines `sample` and `apply` and is registered in DEGRADATION_REGISTRY under its own name; it needs nothing
    more (but `output_size` and `changes_size` if it changes the size). `apply` sees only the parameters, never the
    configuration, so that a record can be replayed anywhere. For measurements and pictures, an op also defines its
    `family`, the severity of parameters, and the arguments of a mild, a medium and a severe example.
    """

    family: ClassVar[str] = ""
    """Kind of degradation: blur, noise, haze, ..."""
    severities: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Constructor arguments of a mild, a medium and a severe example."""
    draws_on_device: ClassVar[bool] = False
    """Whether its field (random array) may be drawn on the image's device; the record then contains `drawn_on`."""
    changes_size: bool = False
    """Whether the result may have another size; the images of a batch share such draws."""

    @abstractmethod
    def sample(self, seed: int, size: Size) -> Params:
        """Draw the parameters for one image of `size`.

        Single numbers come from generators keyed by `seed` (`uir.degradations.values`); an op that draws a field (a
        random array) adds `"seed"`. All values are plain JSON types, and the unit is part of the key.
        """

    @staticmethod
    @abstractmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """Degrade [C, H, W], or a batch [B, C, H, W] with the same parameters and the same field for each image.

        Any device and floating type; the result has the same. RGB in [0, 1]. The input is not changed.
        """

    @staticmethod
    def output_size(params: Mapping[str, Any], size: Size) -> Size:
        """The size of the result for an image of `size`; the same size unless the op overrides this."""
        return size

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Severity of recorded parameters: 0 none, 1 the strongest in the literature; the same scale for every user.

        Raises:
            ValueError: the op has no such scale.
        """
        raise ValueError(f"{params.get('op', 'the op')} declares no severity; give its class a static `severity`")

    @classmethod
    def apply_each(cls, images: Tensor, params: Sequence[Mapping[str, Any]]) -> Tensor:
        """Degrade a batch [B, C, H, W], each image with its own parameters; one by one unless the op overrides this."""
        return torch.stack([cls.apply(image, own) for image, own in zip(images, params, strict=True)])

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The steps for an image of `size`: one for an op, any number for a pipeline."""
        return [{"op": registered_name(type(self)), **self.sample(self.shared_seed(seed, context), size)}]

    def shared_seed(self, seed: int, context: DrawContext | None) -> int:
        """The batch's seed if the result's size depends on the draw and there is a batch, else `seed`."""
        shared = self.changes_size and context is not None and context.batch_seed is not None
        return context.batch_seed if shared else seed  # type: ignore[union-attr,return-value]

    def __call__(self, image: Tensor, seed: int, label: str | None = None) -> tuple[Tensor, DegradationRecord]:
        """Degrade [C, H, W] or [B, C, H, W] and return the record too.

        The same seed and size give the same record, and with the same image the same bits on the CPU.

        Raises:
            ValueError: the image is not a floating-point tensor of one of these shapes.
        """
        check_image(image, type(self).__name__)
        seed = operator.index(seed)  # a numpy integer would give another key than the same Python int
        height, width = image.shape[-2:]
        record = self.record(seed, (height, width), label)
        return replay(record, image), record

    def record(
        self, seed: int, size: Size, label: str | None = None, context: DrawContext | None = None
    ) -> DegradationRecord:
        """The record for an image of `size`; without a `label`, the label that the pipeline marked is used."""
        steps = tuple(self.draw(seed, size, context or DrawContext(size)))
        return DegradationRecord(steps, seed, label if label is not None else marked_label(steps))


def replay(record: DegradationRecord, image: Tensor) -> Tensor:
    """Apply a record to `image`; on the original image this gives the original result bit for bit.

    Raises:
        ValueError: the history is unknown, or a step lacks a parameter or has one that does not fit.
        UnknownNameError: no op of that name is registered.
    """
    if record.steps is None:
        raise ValueError("replay: the record's steps are unknown (a real pair); there is nothing to replay")
    try:
        return apply_steps(image, record.steps)
    except (ValueError, UnknownNameError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # values of a wrong kind make an op, and the libraries that it uses, fail in any way
        raise ValueError(f"replay: a value of the record does not fit: {type(error).__name__}: {error}") from error


def apply_steps(image: Tensor, steps: Iterable[Mapping[str, Any]]) -> Tensor:
    """Apply recorded steps in order; always returns a new tensor. Conversion to half precision comes last."""
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
                f"{step['op']}: the recorded step lacks the parameter {error}; it has {sorted(step)}"
            ) from error
    return image.clone() if result is clear else result.to(image.dtype)


def step_output_size(step: Mapping[str, Any], size: Size) -> Size:
    """The size after a recorded step."""
    following: Size = DEGRADATION_REGISTRY.get(step["op"]).output_size(step, size)
    return following


def registered_name(cls: type) -> str:
    """The name under which the registry returns `cls`, with its origin if the plain name is another class.

    Raises:
        ValueError: the class is not registered, so that its record could not be replayed.
    """
    for name in (cls.__name__, f"uir:{cls.__name__}", *DEGRADATION_REGISTRY.keys()):
        if name in DEGRADATION_REGISTRY and DEGRADATION_REGISTRY.get(name) is cls:
            return name
    raise ValueError(
        f"degradation {cls.__name__} ({cls.__module__}) is not registered, so its record could not be replayed; "
        "write @DEGRADATION_REGISTRY.register() above the class"
    )


def check_image(image: Tensor, op: str) -> None:
    """Refuse anything but a floating-point [C, H, W] or [B, C, H, W].

    Raises:
        ValueError: the message says what was passed and what was expected.
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
    """The image in the precision for ops: float64 is kept, everything else becomes float32."""
    return image if image.dtype == torch.float64 else image.float()
