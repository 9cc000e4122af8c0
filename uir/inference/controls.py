"""Controls: values that a user can set for restoring, such as a prompt, sampling steps or a reference image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from uir.core.images import read_image, to_float
from uir.registry import nearest_names

Kind = Literal["int", "float", "text", "choice", "image"]


@dataclass(frozen=True)
class Control:
    """One value that a user can set.

    Attributes:
        name: as in `--set name=value`.
        kind: int, float, text, choice (one of `choices`), or image (a file, an array or a tensor).
        help: one sentence about its effect.
        default: the value if the user does not set it; None if it comes from the batch or the method.
        low, high: the range of a number, both ends included; None means no limit.
        choices: the possible texts of a choice.
    """

    name: str
    kind: Kind
    help: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """The possible values, in words."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        kinds = {"int": "a whole number", "float": "a number", "text": "a text", "image": "an image"}
        low = f" from {self.low:g}" if self.low is not None else ""
        high = f" up to {self.high:g}" if self.high is not None else ""
        return kinds[self.kind] + low + high

    def read(self, value: Any) -> Any:
        """A value in the form for the predictor: a number, a text, or an image [1, 3, h, w] in [0, 1].

        Args:
            value: a value of the control's kind, or its text, as a user types it.

        Raises:
            ValueError: the value has another kind, or is out of range.
        """
        if self.kind == "image":
            return _image(value, self.name)
        if self.kind in ("text", "choice"):
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise self._wrong(value)
            return value
        try:
            number = (int if self.kind == "int" else float)(value)
        except (TypeError, ValueError):
            raise self._wrong(value) from None
        whole = isinstance(value, str) or number == value
        below = self.low is not None and number < self.low
        above = self.high is not None and number > self.high
        if isinstance(value, bool) or not whole or below or above or number != number:
            raise self._wrong(value)
        return number

    def _wrong(self, value: Any) -> ValueError:
        return ValueError(f"{self.name}: expected {self.range}, got {value!r}")


SEED = Control("seed", "int", "Random values depend only on this number and the image's name.", 0, low=0)
"""The control of every predictor that uses random values."""


def read_controls(controls: Sequence[Control], values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The values that a user set, in the form for the predictor.

    Raises:
        ValueError: there is no such control, or a value does not fit it.
    """
    by_name = {control.name: control for control in controls}
    for name in values:
        if name not in by_name:
            near = nearest_names(name, by_name, count=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(by_name) or 'none'}"
            raise ValueError(f"{owner} has no control '{name}'; {hint}")
    return {name: by_name[name].read(value) for name, value in values.items()}


def _image(value: Any, name: str) -> Tensor:
    if isinstance(value, str | Path):
        value = read_image(Path(value))
    if isinstance(value, np.ndarray):
        pixels = value.reshape(*value.shape[:2], -1)[..., :3]
        value = torch.from_numpy(to_float(np.ascontiguousarray(pixels))).permute(2, 0, 1)[None].expand(-1, 3, -1, -1)
    if not isinstance(value, Tensor) or value.ndim != 4 or value.shape[1] != 3:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name}: expected an image file, an array [H, W, 3] or a tensor [B, 3, H, W], got {shape}")
    return value
