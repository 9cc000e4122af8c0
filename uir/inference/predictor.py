"""Predictors: how a method restores, from a batch of images to what is restored of them.

Validation, `uir test`, `uir restore` and `uir analyze` all restore through `predict`, and none of them knows a method.
A predictor is a plain class in the table `PREDICTORS`; the card of a checkpoint names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.core.precision import Precision, autocast
from uir.core.seeds import torch_generator
from uir.inference.controls import Control, read_controls
from uir.inference.tiling import Read, tiled_rows
from uir.layers.image_channels import check_channels
from uir.layers.padding import crop, pad_to_multiple


@dataclass
class Whole:
    """The images that are restored, as a whole, before any tile of them is.

    Attributes:
        read: gives a part of all of them, [B, 3, h, w] in [0, 1].
        size: height and width.
        names: of the images, without folder and ending.
        device: where to compute.
        batch: everything that came with them.
        controls: what a user set.
        defaults: what holds where nobody sets it.
    """

    read: Read
    size: tuple[int, int]
    names: tuple[str, ...]
    device: torch.device
    batch: Mapping[str, Any] = field(default_factory=dict)
    controls: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        read: Read,
        size: tuple[int, int],
        names: tuple[str, ...],
        device: torch.device,
        batch: Mapping[str, Any],
        controls: Mapping[str, Any],
    ) -> Whole:
        """Images for a predictor, whose controls are checked.

        Raises:
            ValueError: a control does not exist or fit.
        """
        defaults = {control.name: control.default for control in predictor.controls}
        return cls(read, size, names, device, batch, predictor.read(controls), defaults)

    def __len__(self) -> int:
        return len(self.names)

    def value(self, name: str) -> Any:
        """What a user set; else what the batch holds; else the control's default. Tensors are on the device.

        Raises:
            ValueError: nobody says it.
        """
        for values in (self.controls, self.batch, self.defaults):
            if values.get(name) is not None:
                value = values[name]
                return value.to(self.device) if isinstance(value, Tensor) else value
        raise ValueError(f"restoring needs `{name}`; set it (--set {name}=...), or take a dataset that gives it")

    def draw(self, *shape: int, purpose: str = "noise") -> Tensor:
        """Normal noise [B, *shape], a field for each image from the control `seed` and the image's name.

        So it is the same for any batch and any number of processes.
        """
        seed = self.value("seed")
        fields = [torch.randn(shape, generator=torch_generator(seed, name, purpose)) for name in self.names]
        return torch.stack(fields).to(self.device)


@dataclass(frozen=True)
class Place:
    """Which part of the whole images is restored at the moment.

    Attributes:
        rows, columns: of the degraded images.
        padded: height and width of what the network is given, at least those of the part.
    """

    rows: slice
    columns: slice
    padded: tuple[int, int]

    def of(self, image: Tensor) -> Tensor:
        """The same part of another image [B, C, H, W] of the whole's size, padded alike."""
        part = image[..., self.rows, self.columns]
        bottom, right = self.padded[0] - part.shape[-2], self.padded[1] - part.shape[-1]
        fits = bottom < part.shape[-2] and right < part.shape[-1]
        padding = (0, right, 0, bottom)
        return nn.functional.pad(part, padding, mode="reflect" if fits else "replicate") if any(padding) else part


@dataclass(frozen=True)
class Prediction:
    """What a method says of a batch.

    Attributes:
        restored: [B, 3, H·scale, W·scale] on the CPU, float32, not clipped.
        extras: further results by name.
    """

    restored: Tensor
    extras: Mapping[str, Any]


class Predictor:
    """Restores images by the networks of a method. Derive from it, register it, and write what differs.

    A whole image is looked at once (`conditions`); then every part of it is restored (`run`): the whole image, or one
    tile after another.

    Args:
        networks: by role; those of `roles`.
        scale: size of the restored image over that of the degraded one.
        labels: names of the classes that the method was trained on.
    """

    roles: ClassVar[tuple[str, ...]] = ("g",)
    """The networks that it needs; `g` restores."""
    supplies: ClassVar[tuple[str, ...]] = ()
    """Names of `network_g.forward`'s arguments, beside the image, that it hands over."""
    controls: ClassVar[tuple[Control, ...]] = ()
    """What a user can set."""
    refusal: str | None = None
    """Why it cannot restore a single photograph, if it cannot."""

    def __init__(self, networks: Mapping[str, nn.Module], scale: int = 1, labels: tuple[str, ...] = ()) -> None:
        missing = [role for role in self.roles if role not in networks]
        if missing:
            raise ValueError(f"{type(self).__name__} needs network_{missing[0]}")
        self.networks = {role: networks[role] for role in self.roles}
        self.scale, self.labels = scale, labels

    @property
    def network(self) -> nn.Module:
        """The network that restores."""
        return self.networks["g"]

    def settings(self) -> dict[str, Any]:
        """Further arguments of its constructor, as the card of a checkpoint holds them."""
        return {}

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """What restoring needs to know of the whole images, by name: a code, noise, a prompt's embedding.

        By default what the network's `forward` takes and the images' batch or a control says.
        """
        return {name: whole.value(name) for name in self.supplies if name in self.taken}

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """Restore a part [B, 3, h, w], padded to the network's `pad_multiple`: [B, 3, h·scale, w·scale].

        Args:
            lq: on the device.
            conditions: of the whole images.
            place: where the part lies in them.
        """
        restored: Tensor = self.network(lq, **conditions)
        return restored

    def extras(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """What it tells beside the restored images."""
        return {}

    @cached_property
    def taken(self) -> frozenset[str]:
        """The names that the network's `forward` takes beside its first argument."""
        return frozenset(conditions_of(self.network)[0])

    def restart(self) -> None:
        """Forget the images that were restored before, where they count."""

    def check(self) -> None:
        """Make sure that the network gets what its `forward` asks for.

        Raises:
            ValueError: it asks for something else.
        """
        missing = [name for name in conditions_of(self.network)[1] if name not in self.supplies]
        if missing:
            supplied = ", ".join(self.supplies) or "nothing beside the image"
            raise ValueError(
                f"network_g: {type(self.network).__name__} takes `{missing[0]}`, and {type(self).__name__} supplies "
                f"{supplied}; take another network, or a method that supplies it"
            )

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a user set, checked (see `Control.read`)."""
        return read_controls(self.controls, values, type(self).__name__)

    @property
    def multiple(self) -> int:
        """Height and width of what the network is given are multiples of this."""
        return 1 if getattr(self.network, "pads_itself", False) else int(getattr(self.network, "pad_multiple", 1))


def conditions_of(network: nn.Module) -> tuple[list[str], list[str]]:
    """The names that a network's `forward` takes beside its first argument: all, and those without a default."""
    parameters = list(inspect.signature(network.forward).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return [p.name for p in named], [p.name for p in named if p.default is p.empty]


@dataclass(frozen=True)
class Running:
    """How predictors compute.

    Attributes:
        device: where.
        precision: fp32, or the type to autocast to.
        tile: side of the tiles in pixels; None restores whole images.
        overlap: pixels that neighbouring tiles share at least.
        guard: makes the block in which no gradient is kept.
    """

    device: torch.device
    precision: Precision = "fp32"
    tile: int | None = None
    overlap: int = 0
    guard: Callable[[], AbstractContextManager[Any]] = torch.no_grad

    def rows(self, predictor: Predictor, whole: Whole, conditions: Mapping[str, Any]) -> Iterator[Tensor]:
        """The restored images in bands of rows [B, 3, rows, w·scale], on the CPU, float32, not clipped."""
        run = partial(self._run, predictor, conditions)
        height, width = whole.size
        if self.tile is None:
            rows, columns = slice(0, height), slice(0, width)
            yield run(whole.read(rows, columns), rows, columns)
            return
        yield from tiled_rows(
            whole.read, run, whole.size, tile=self.tile, overlap=self.overlap,
            multiple=int(getattr(predictor.network, "pad_multiple", 1)), scale=predictor.scale,
        )  # fmt: skip

    def conditions(self, predictor: Predictor, whole: Whole) -> dict[str, Any]:
        """What a predictor finds out about whole images."""
        with self.guard(), autocast(self.device, self.precision):
            return predictor.conditions(whole)

    def _run(
        self, predictor: Predictor, conditions: Mapping[str, Any], pixels: Tensor, rows: slice, columns: slice
    ) -> Tensor:
        lq = pixels.to(self.device, torch.float32)
        padded = pad_to_multiple(lq, predictor.multiple)
        place = Place(rows, columns, (padded.shape[-2], padded.shape[-1]))
        with self.guard(), autocast(self.device, self.precision):
            restored = predictor.run(padded, conditions, place)
        return crop(restored, lq.shape[-2] * predictor.scale, lq.shape[-1] * predictor.scale).float().cpu()


def predict(
    predictor: Predictor, batch: Mapping[str, Any], running: Running, controls: Mapping[str, Any] | None = None
) -> Prediction:
    """Restore a batch.

    Args:
        predictor: whose networks are in evaluation mode, on the device.
        batch: `lq` [B, 3, h, w], where there are some `lq_path`, and what else the dataset gives.
        running: how.
        controls: what a user set.

    Raises:
        ValueError: a control does not exist or fit, or something is missing that the predictor needs.
    """
    lq: Tensor = batch["lq"]
    check_channels(predictor.network, lq)
    paths = batch.get("lq_path") or [str(index) for index in range(len(lq))]
    names = tuple(Path(path).stem for path in paths)
    size = (lq.shape[-2], lq.shape[-1])

    def read(rows: slice, columns: slice) -> Tensor:
        return lq[..., rows, columns]

    whole = Whole.of(predictor, read, size, names, running.device, batch, controls or {})
    conditions = running.conditions(predictor, whole)
    restored = torch.cat(list(running.rows(predictor, whole, conditions)), -2)
    return Prediction(restored, predictor.extras(conditions))
