"""Predictors: how a method restores a batch of images.

Validation, `uir test`, `uir restore` and `uir analyze` all restore through `predict`; none of them depends on a method.
A predictor is a plain class in the table `PREDICTORS`; the card of a checkpoint names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.core.seeds import torch_generator
from uir.inference.controls import Control
from uir.inference.place import Place
from uir.inference.running import Running
from uir.inference.strategies import Strategy, offered, read_values
from uir.inference.tiling import Read
from uir.layers.image_channels import check_channels
from uir.layers.padding import multiple_of, outer_multiple_of

__all__ = ["Place", "Prediction", "Predictor", "Running", "Whole", "conditions_of", "predict"]


@dataclass
class Whole:
    """The whole images of a batch, before they are divided into tiles.

    Attributes:
        read: gives a part of all of them, [B, 3, h, w] in [0, 1].
        size: height and width.
        names: names of the images, without folder and ending.
        device: the device to compute on.
        batch: all entries of the batch.
        controls: values that a user set.
        defaults: values of the controls that the user did not set.
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
        """Images for a predictor; `controls` are values of its own controls, as `read_values` gives them."""
        defaults = {control.name: control.default for control in predictor.controls}
        return cls(read, size, names, device, batch, controls, defaults)

    def __len__(self) -> int:
        return len(self.names)

    def value(self, name: str) -> Any:
        """The user's value; else the batch's entry; else the control's default. Tensors are on the device.

        Raises:
            ValueError: none of them has a value.
        """
        for values in (self.controls, self.batch, self.defaults):
            if values.get(name) is not None:
                value = values[name]
                return value.to(self.device) if isinstance(value, Tensor) else value
        raise ValueError(f"restoring needs `{name}`; set it (--set {name}=...), or use a dataset that gives it")

    def draw(self, *shape: int, purpose: str = "noise") -> Tensor:
        """Normal noise [B, *shape], for each image from the control `seed` and the image's name.

        It is the same for any batch and any number of processes.
        """
        seed = self.value("seed")
        fields = [torch.randn(shape, generator=torch_generator(seed, name, purpose)) for name in self.names]
        return torch.stack(fields).to(self.device)


@dataclass(frozen=True)
class Prediction:
    """The result of a method for a batch.

    Attributes:
        restored: [B, 3, H·scale, W·scale] on the CPU, float32, not clipped.
        extras: further results by name.
    """

    restored: Tensor
    extras: Mapping[str, Any]


class Predictor:
    """Restores images with the networks of a method. A subclass is registered, and defines only the differences.

    First, `conditions` is called once for the whole image; then `run` restores every part of it: the whole image, or
    one tile after another.

    Args:
        networks: the networks of `roles`, by role.
        scale: size of the restored image divided by that of the degraded one.
        labels: names of the classes that the method was trained on.
    """

    roles: ClassVar[tuple[str, ...]] = ("g",)
    """The networks that it needs; `g` restores."""
    supplies: ClassVar[tuple[str, ...]] = ()
    """Names of `network_g.forward`'s arguments, besides the image, that it provides."""
    controls: ClassVar[tuple[Control, ...]] = ()
    """The values that a user can set."""
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

    @property
    def encoder(self) -> nn.Module | None:
        """The network that gives the degradation code of an image; None if the method has none."""
        return self.networks.get("e")

    def settings(self) -> dict[str, Any]:
        """Further arguments of its constructor, as on the card of a checkpoint."""
        return {}

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """Values of the whole images that restoring needs, by name: a code, noise, a prompt's embedding.

        By default the arguments of the network's `forward` that are in the batch or set by a control.
        """
        return {name: whole.value(name) for name in self.supplies if name in self.taken}

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """Restore a part [B, 3, h, w], padded to the network's `pad_multiple`: [B, 3, h·scale, w·scale].

        Args:
            lq: the part, on the device.
            conditions: those of the whole images.
            place: the position of the part in them.
        """
        restored: Tensor = self.network(lq, **conditions)
        return restored

    def extras(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """Further results, besides the restored images."""
        return {}

    @cached_property
    def taken(self) -> frozenset[str]:
        """The names of the arguments of the network's `forward`, except the first."""
        return frozenset(conditions_of(self.network)[0])

    def restart(self) -> None:
        """Forget the images that were restored before, if the result depends on them."""

    def check(self) -> None:
        """Check that the network gets every argument that its `forward` needs.

        Raises:
            ValueError: an argument is not provided.
        """
        missing = [name for name in conditions_of(self.network)[1] if name not in self.supplies]
        if missing:
            supplied = ", ".join(self.supplies) or "only the image"
            raise ValueError(
                f"network_g: {type(self.network).__name__} needs `{missing[0]}`, but {type(self).__name__} gives "
                f"{supplied}; use another network, or a method that gives it"
            )

    @property
    def offered(self) -> tuple[Control, ...]:
        """All values that a user can set: its own controls, and those of the strategies."""
        return offered(self.controls)

    def read(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Strategy]]:
        """The values that a user set, after a check: those of its own controls, and the strategies that are on.

        Raises:
            ValueError: a control does not exist or fit.
        """
        own, strategies = read_values(self.controls, values, type(self).__name__, self.scale)
        self.check_values(own)
        return own, strategies

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Check what only the networks can tell about the values of its own controls, before an image is restored.

        Raises:
            ValueError: a network knows no such value, such as a word that it was not trained with.
        """

    @property
    def multiple(self) -> int:
        """Height and width of the network's input are multiples of this number."""
        return outer_multiple_of(self.network)

    @property
    def grid(self) -> int:
        """Tiles start at multiples of this number."""
        return multiple_of(self.network)


def conditions_of(network: nn.Module) -> tuple[list[str], list[str]]:
    """The names of the arguments of a network's `forward`, except the first: all, and those without a default."""
    parameters = list(inspect.signature(network.forward).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return [p.name for p in named], [p.name for p in named if p.default is p.empty]


def predict(
    predictor: Predictor, batch: Mapping[str, Any], running: Running, controls: Mapping[str, Any] | None = None
) -> Prediction:
    """Restore a batch.

    Args:
        predictor: its networks are in evaluation mode, on the device.
        batch: `lq` [B, 3, h, w], `lq_path` if the images have files, and the dataset's other entries.
        running: the settings.
        controls: values that a user set.

    Raises:
        ValueError: a control does not exist or fit, or a value that the predictor needs is missing.
    """
    lq: Tensor = batch["lq"]
    check_channels(predictor.network, lq)
    paths = batch.get("lq_path") or [str(index) for index in range(len(lq))]
    names = tuple(Path(path).stem for path in paths)
    size = (lq.shape[-2], lq.shape[-1])

    def read(rows: slice, columns: slice) -> Tensor:
        return lq[..., rows, columns]

    values, strategies = predictor.read(controls or {})
    whole = Whole.of(predictor, read, size, names, running.device, batch, values)
    conditions: dict[str, Any] = {}
    restored = torch.cat(list(running.rows(predictor, whole, strategies, conditions)), -2)
    return Prediction(restored, predictor.extras(conditions))
